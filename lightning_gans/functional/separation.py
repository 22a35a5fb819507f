"""How well mixed sources were separated."""

from torch import Tensor

from lightning_gans.errors import InputError


def amari_index(unmixing: Tensor, mixing: Tensor) -> Tensor:
    """Distance of B A from a scaled permutation, which is all that independent component analysis can find.

        1 / (2 d (d - 1)) (sum_i (sum_j |p_ij| / max_j |p_ij| - 1) + sum_j (sum_i |p_ij| / max_i |p_ij| - 1)),  P = B A

    (Amari, Cichocki & Yang 1996, with the factor that makes it end at 1.)

    Args:
        unmixing: B, (d, d), d at least 2.
        mixing: A, (d, d).

    Returns:
        A scalar in [0, 1]: 0 if every source is found, 1 if every output holds all of them equally.

    Raises:
        InputError: If the matrices are not square, of one size of 2 or more.
    """
    if unmixing.shape != mixing.shape or mixing.ndim != 2 or mixing.shape[0] != mixing.shape[1] or len(mixing) < 2:
        raise InputError(
            f"an Amari index needs two square matrices of 2 or more rows, not {tuple(unmixing.shape)} and "
            f"{tuple(mixing.shape)}"
        )
    product = (unmixing @ mixing).abs()
    by_rows = (product / product.amax(1, keepdim=True)).sum() - len(product)
    by_columns = (product / product.amax(0, keepdim=True)).sum() - len(product)
    return (by_rows + by_columns) / (2 * len(product) * (len(product) - 1))
