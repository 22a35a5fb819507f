"""Before the first trial starts: does the configuration know every parameter, and take its values?

The command line of `fit` is parsed in this process by the parser that the trials will use, and nothing is built. As
often as it takes for every kind of value to have been there, so that a bad last value of a grid does not wait for its
turn.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from lightning_gans.errors import InputError
from lightning_gans.sweep.command import command_line, fit_arguments
from lightning_gans.sweep.distributions import Choice, Interval
from lightning_gans.sweep.schema import Sweep

OWNED = ("runs", "experiment", "ckpt_path", "allow_changed", "print_config")
"""Options that the runner gives itself, or that would not train."""


def check_parameters(sweep: Sweep) -> bool:
    """Try the sweep's parameters on the configuration.

    Returns:
        Whether they could be tried: the options of a program other than our `fit` are not known here.

    Raises:
        InputError: Naming the parameter that the configuration does not have, or the value that it does not take.
    """
    for name in sweep.parameters:
        if name in OWNED:
            raise InputError(f"parameters.{name} cannot be swept: the runner sets --{name} itself")
    if fit_arguments(command_line(sweep.command, sweep.program, {})) is None:
        return False
    from lightning_gans import cli

    for settings in representatives(sweep):
        arguments = fit_arguments(command_line(sweep.command, sweep.program, settings))
        assert arguments is not None
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                cli.run([*arguments, "--print_config"])
        except SystemExit as end:
            if end.code:
                lines = [line for line in said.getvalue().splitlines() if line.startswith("error: ")]
                sentence = lines[-1].removeprefix("error: ") if lines else said.getvalue().strip()[:300]
                raise InputError(f"the command of the sweep is no valid `fit`: {sentence}") from None
    return True


def representatives(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Settings in which every value of every choice occurs, and of numbers the first and the last."""
    values = {}
    for name, distribution in sweep.parameters.items():
        of_it = list(distribution.values) if isinstance(distribution, Choice) else _ends(distribution)
        # what the parser says of a number depends on its type alone
        if len({type(value) for value in of_it}) == 1 and type(of_it[0]) in (int, float):
            of_it = list(dict.fromkeys((of_it[0], of_it[-1])))
        values[name] = of_it
    for index in range(max(map(len, values.values()))):
        yield {name: of_it[min(index, len(of_it) - 1)] for name, of_it in values.items()}


def _ends(interval: Interval) -> list[Any]:
    return [interval.at(quantile) for quantile in (1e-4, 1 - 1e-4)]
