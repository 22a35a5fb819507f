"""The results of a sweep on W&B, in the form that those of a folder have."""

import http.client
import math
import ssl
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_gans.errors import InputError, first_sentence
from lightning_gans.sweep.results import Result, Results, flat, results_of

_STATES = {"crashed": "broken", "failed": "broken", "killed": "terminated"}
# W&B keeps its own numbers beside the metrics, and the clock of Lightning's loggers
_NO_METRICS = ("epoch", "trainer/global_step")
# JSON has no numbers for these; W&B writes them so
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_PATIENCE = 10.0


def from_wandb(path: str) -> Results:
    """The results of a sweep on W&B.

    Args:
        path: ENTITY/PROJECT/ID.

    Raises:
        InputError: If W&B is set up wrongly, cannot be reached, has no such sweep or does not show it.
        wandb.errors.Error: If W&B cannot be asked, as without a login.
    """
    import wandb

    try:
        settings = wandb.setup().settings
    except ValueError as error:
        # the lines after the first one name the setting and what is wrong with it
        said = ": ".join(line.strip() for line in str(error).splitlines()[1:3]) or first_sentence(error)
        raise InputError(f"W&B's settings (variables WANDB_…) are wrong: {said}") from error
    refuse_unreachable(settings.base_url, proxies=(settings.http_proxy, settings.https_proxy))
    api = wandb.Api()
    try:
        config = api.sweep(path).config
        entity, project, number = path.split("/")
        # the whole of every run at once: asked one by one, a run takes a request
        runs = api.runs(f"{entity}/{project}", filters={"sweep": number}, order="+created_at", lazy=False)
        return from_wandb_runs(path, config, list(runs))
    except Exception as error:
        if not type(error).__module__.startswith("wandb"):
            raise
        # that there is no such sweep is a ValueError, which the client wraps
        if isinstance(getattr(error, "exc", error), ValueError):
            raise InputError(f"W&B at {api.settings['base_url']} has no sweep {path}, or hides it from you") from error
        raise InputError(f"W&B did not say what is in the sweep {path}: {first_sentence(error)}") from error


def refuse_unreachable(url: str, proxies: Iterable[str | None] = ()) -> None:
    """Say at once that nobody answers, and why: W&B's client tries for long, and says something else.

    Args:
        url: Of the server.
        proxies: Ways round that the client knows; with any, it is left to the client.

    Raises:
        InputError: If nobody answers there.
    """
    if any(proxies) or urllib.request.getproxies():
        return
    try:
        urllib.request.urlopen(url, timeout=_PATIENCE).close()
    except (urllib.error.HTTPError, http.client.HTTPException):
        return  # an answer too
    except OSError as error:
        # URLError holds the system's own error
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return  # the client may know other certificates
        why = getattr(reason, "strerror", None) or reason
        raise InputError(f"W&B at {url} cannot be reached: {why}; is that where it is (WANDB_BASE_URL)?") from error


def from_wandb_runs(path: str, config: Mapping[str, Any], runs: Iterable[Any]) -> Results:
    """The results that W&B's objects hold.

    Args:
        path: ENTITY/PROJECT/ID.
        config: The sweep's configuration.
        runs: Objects with id, name, state, config and summary_metrics as `wandb.Api` gives them, oldest first.
    """
    runs = list(runs)
    names = list(config.get("parameters") or {})
    # runs of one configuration often have one name; their id is then what tells them apart
    known_as = Counter(run.name for run in runs)
    trials = []
    for run in runs:
        settings = {name: run.config[name] for name in names if name in run.config}
        name = run.name if run.name and known_as[run.name] == 1 else run.id
        trials.append(Result(name, _STATES.get(run.state, run.state), flat(settings), _metrics(run.summary_metrics)))
    return results_of(config.get("name") or path, config, trials)


def _metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: _WORDS.get(value, value) if isinstance(value, str) else value for name, value in summary.items()}
    return {
        name: float(value)
        for name, value in numbers.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and name not in _NO_METRICS
        and not name.startswith("_")
    }
