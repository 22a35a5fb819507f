"""``python -m lightning_gans COMMAND``: every command, and how each of them ends."""

import difflib
import signal
import sys
from collections.abc import Callable

TRAINING = ("fit", "validate", "test", "predict")
COMMANDS = ("sample", "traverse", "encode", "ensemble", "compare", "sweep", "boost")


def main(args: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 when done, 1 when training broke down, 2 on bad input, 128 + signal when stopped.
    """
    try:
        return _run(sys.argv[1:] if args is None else args)
    except KeyboardInterrupt:  # also while everything is imported, which takes seconds
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _run(args: list[str]) -> int:
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from lightning_gans.errors import InputError, LostProcess, NonFiniteLoss, StoppedUnhealthy, first_sentence

    try:
        if not args:
            raise InputError(f"give one of the commands {', '.join(TRAINING + COMMANDS)}, or --help")
        if args and not args[0].startswith("-") and args[0] not in TRAINING + COMMANDS:
            raise InputError(unknown_command(args[0]))
        if args[0].startswith("-") and (command := next((arg for arg in args if arg in TRAINING + COMMANDS), None)):
            raise InputError(f"options come after the command: {command} {args[0]} …")
        if args and args[0] == "sweep":
            from lightning_gans.sweep.main import main as sweep

            return sweep(args[1:])
        if args and args[0] == "boost":
            from lightning_gans.cli import run as fit
            from lightning_gans.commands import boost

            return _train(lambda rest: boost.main(rest, fit), args[1:])
        if args and args[0] in COMMANDS:
            from lightning_gans import commands

            commands.run(args)
            return 0
        from lightning_gans import cli

        return _train(cli.run, args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (LostProcess, NonFiniteLoss, StoppedUnhealthy) as error:
        print(f"training stopped: {error}", file=sys.stderr)
        return 1
    except MisconfigurationException as error:
        print(f"error: {first_sentence(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        where = "" if error.filename is None else f": {error.filename}"
        print(
            "; ".join([f"error: {error.strerror or error}{where}", *getattr(error, "__notes__", ())]), file=sys.stderr
        )
        return 2
    except RuntimeError as error:
        # Lightning's EarlyStopping knows only at a validation what is measured; its words are as clear as any
        if not str(error).startswith("Early stopping conditioned on metric"):
            raise
        print(f"error: {first_sentence(error)}", file=sys.stderr)
        return 2
    except Exception as error:
        # W&B is imported only where it is used
        if not type(error).__module__.startswith("wandb.errors"):
            raise
        print(f"error: W&B: {first_sentence(error)}", file=sys.stderr)
        return 2


def unknown_command(name: str) -> str:
    """What to say about a command that does not exist."""
    close = difflib.get_close_matches(name, TRAINING + COMMANDS, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"there is no command '{name}' among {', '.join(TRAINING + COMMANDS)}{hint}"


def _train(run: Callable[[list[str]], None], args: list[str]) -> int:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from lightning_gans.callbacks import Interrupted

    try:
        run(args)
    except Interrupted as stop:
        print(f"{stop}; saved. Resume with the same command and --ckpt_path last", file=sys.stderr)
        return 128 + stop.signal_number
    except SIGTERMException:
        # where there is no step to finish: before training, and while a trained model is measured
        print("stopped by SIGTERM; what was under way is not finished", file=sys.stderr)
        return 128 + signal.SIGTERM
    except SystemExit as end:
        # Lightning turns Ctrl-C into exit(1)
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
