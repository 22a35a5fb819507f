"""A mixture of generators as one generator."""

from collections.abc import Sequence

from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.networks.base import Generator


class MixtureGenerator(Generator):
    """G(z, c) = G_c(z): the latent says which of T generators makes the sample.

    The last T numbers of the latent are the one-hot choice c, so drawing c by the weights of a mixture draws from the
    mixture. One generator alone needs no choice and has none in its latent. The generators are finished: they
    cost no gradient and stay in evaluation mode (batch normalisation with running statistics).

    Args:
        components: T generators of the same latents and samples.
    """

    def __init__(self, components: Sequence[Generator]):
        super().__init__()
        if not components:
            raise InputError("a mixture needs at least one generator")
        first = components[0]
        kinds = {(g.input_size, tuple(g.sample_shape), g.output_range) for g in components}
        if len(kinds) > 1:
            raise InputError(f"the generators of a mixture must take and make the same, but differ: {sorted(kinds)}")
        self.sample_shape = first.sample_shape
        self.output_range = first.output_range
        self._own_size = first.input_size
        self.input_size = first.input_size + (len(components) if len(components) > 1 else 0)
        self.components = nn.ModuleList(components).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "MixtureGenerator":
        """Nothing changes: the components are finished."""
        return super().train(False)

    def forward(self, latent: Tensor) -> Tensor:
        """Samples of shape (B, *sample_shape), from latents of shape (B, input_size)."""
        if len(self.components) == 1:
            return self.components[0](latent)
        chosen = latent[:, self._own_size :].argmax(1)
        own = latent[:, : self._own_size]
        samples = latent.new_empty(len(latent), *self.sample_shape)
        for index, component in enumerate(self.components):
            rows = (chosen == index).nonzero()[:, 0]
            if len(rows):
                samples = samples.index_copy(0, rows, component(own[rows]).to(samples.dtype))
        return samples


def generator_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the generator that samples come from, out of an objective's state: averaged if there are any.

    Args:
        state: The "state_dict" of a checkpoint.

    Raises:
        InputError: If it holds no generator.
    """
    for prefix in ("average.network.", "generator."):
        found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if found:
            return found
    raise InputError("the checkpoint holds no generator")
