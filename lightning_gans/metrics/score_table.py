"""Scores for a terminal, each beside what real images would score in the generator's place."""

import textwrap
from collections.abc import Sequence

from lightning_gans.metrics.score import Score, format_table

FLOOR = "floor/"
"""Begins the name of a score of real images that stand in the generator's place."""
WIDTH = 110


def format_scores(scores: Sequence[Score]) -> str:
    """Lay out scores: one table for each kind of protocol, the floor of a score as its last column.

    Args:
        scores: What to show; those of which the name begins with ``floor/`` become the column.
    """
    floors = [score for score in scores if score.metric.startswith(FLOOR)]
    kinds: dict[tuple[object, ...], list[Score]] = {}
    for score in scores:
        if not score.metric.startswith(FLOOR):
            kind = (frozenset(score.protocol), score.protocol.get("split"), score.protocol.get("generated"))
            kinds.setdefault(kind, []).append(score)
    return "\n\n".join(_title(group[0]) + _table(group, floors) for group in kinds.values()) or "no scores"


def format_protocol(scores: Sequence[Score]) -> str:
    """What the protocols of scores have in common, on a few lines."""
    return _wrapped(format_table(scores).splitlines()[-1])


def _wrapped(protocol: str) -> str:
    return textwrap.fill(protocol, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _table(scores: list[Score], floors: list[Score]) -> str:
    heading, *rows, protocol = format_table(scores).splitlines()
    protocol = _wrapped(protocol)
    found = [_floor_of(score, floors) for score in scores]
    if not any(found):
        return "\n".join([heading, *rows, protocol])
    width = max(map(len, (heading, *rows)))
    cells = ["" if floor is None else f"{floor.value:.4g}" for floor in found]
    lines = [f"{row:<{width}}  {cell}".rstrip() for row, cell in zip((heading, *rows), ("floor", *cells), strict=True)]
    which = {str(floor.protocol["generated"]): None for floor in found if floor is not None}
    return "\n".join([*lines, f"floor: {', '.join(which)} in the generator's place", protocol])


def _title(score: Score) -> str:
    """A line above a table that is not of the model against the training images."""
    if "generated" in score.protocol:
        return f"{score.protocol['generated']} in the generator's place:\n"
    reference = score.protocol.get("reference", "train")
    return "" if reference == "train" else f"the model against {reference}:\n"


def _floor_of(score: Score, floors: list[Score]) -> Score | None:
    """The floor of the most images, but no more than the score is of: with more it would be too low."""
    if score.protocol.get("reference", "train") != "train":
        return None  # every floor is relative to the training images
    suited = [
        floor
        for floor in floors
        if _stem(floor.metric.removeprefix(FLOOR)) == _stem(score.metric) and _n_fake(floor) <= _n_fake(score)
    ]
    return max(suited, key=_n_fake, default=None)


def _n_fake(score: Score) -> int:
    n = score.protocol.get("n_fake")
    return n if isinstance(n, int) else 0


def _stem(metric: str) -> str:
    """A metric's name without its n, of which floors may have fewer."""
    return metric.rpartition("_")[0]
