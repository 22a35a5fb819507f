"""Records as tables read them."""

import json
from pathlib import Path
from typing import Any

from lightning_gans.metrics.score import number_of_json

RESULTS = Path(__file__).parents[1] / "results"


def read(name: str) -> dict[str, Any] | None:
    """A record, if it is there."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def over_seeds(entry: dict[str, Any], decimals: int) -> str:
    """Mean ± standard deviation; the mean alone of one seed, or where the scores are not all finite."""
    spread = "" if entry["sd"] is None else f" ± {entry['sd']:.{decimals}f}"
    return f"{number_of_json(entry['mean']):.{decimals}f}{spread}"
