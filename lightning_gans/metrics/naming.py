"""What a score is called, and which way it is better."""

import difflib
import re

from lightning_gans.errors import InputError

# A fidelity score's name goes on with "_<extractor>_<n>", any other's with "/<what it is of>" or not at all.
_FIDELITY = {
    "fid": True,
    "kid": True,
    "kid_rbf": True,
    "class_histogram_kl": True,
    "inception_score": False,
    "precision": False,
    "recall": False,
    "density": False,
    "coverage": False,
    "classes_covered": False,
}
# likewise, of another panel
_STACKED = {"stacked_modes": False, "stacked_mode_kl": True}
_OTHERS = {
    "error_hungarian": True,
    "error_majority": True,
    "nmi": False,
    "ari": False,
    "information": False,
    "information_share": False,
    "r_squared": False,
    "calibrated_bound": False,
    "density/modes": False,
    "density/high_quality": False,
    "density/mode_kl": True,
    "density/coverage": False,
    "density/discriminator_error": True,
    "density/divergence": True,
    "calibration_error": True,
    "attribute_information": False,
    "classification_error": True,
    "parzen_cross_validation": False,
    "parzen_validation": False,
    "likelihood/log_likelihood": False,
    "likelihood/kl": True,
    "likelihood/precision_error": True,
    "likelihood/amari_index": True,
    "two_sample_test/p_value": False,
    "two_sample_test/squared_mmd": True,
}


def fidelity_name(kind: str, extractor: str, n: int) -> str:
    """The name of a fidelity score, like ``fid_mnist-convnet_10k``.

    Args:
        kind: What is measured: ``fid``, ``inception_score``, …
        extractor: Name of the feature extractor.
        n: Generated images; whole thousands are written as ``10k``.
    """
    return f"{kind}_{extractor}_{n // 1000}k" if n >= 1000 and n % 1000 == 0 else f"{kind}_{extractor}_{n}"


def is_fidelity(metric: str) -> bool:
    """Whether this is the name of a fidelity score, with or without the stage and the weights."""
    bare = _bare(metric)
    return any(bare.startswith(kind + "_") for kind in _FIDELITY)


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of this metric is the better one.

    Args:
        metric: Its name, with or without the stage and the weights that it is logged under.

    Raises:
        InputError: If neither way is better, as for the losses of a game, or the metric is unknown.
    """
    if "inception_score_sd_of_parts" in metric:
        raise InputError(f"nothing can be ranked by {metric}: it is a spread")
    bare = _bare(metric)
    for kinds, separator in ((_FIDELITY, "_"), (_STACKED, "_"), (_OTHERS, "/")):
        for kind, lower in kinds.items():
            if bare == kind or bare.startswith(kind + separator):
                return lower
    close = difflib.get_close_matches(bare, _OTHERS, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise InputError(
        f"nothing can be ranked by {metric}: it is no score, or neither a low nor a high value of it is better{hint}"
    )


def has_direction(metric: str) -> bool:
    """Whether a smaller or a larger value of this metric is the better one, and we know which."""
    try:
        lower_is_better(metric)
    except InputError:
        return False
    return True


def _bare(metric: str) -> str:
    return re.sub(r"^((train|validation|test|raw)/)+", "", metric)
