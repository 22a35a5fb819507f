"""``python -m lightning_gans COMMAND``: every command, and how each of them ends."""

import signal
import sys

COMMANDS = ("sample", "traverse", "encode")


def main(args: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 when done, 1 when training broke down, 2 on bad input, 128 + signal when stopped.
    """
    if args is None:
        # LightningCLI warns when it finds arguments in both places
        args, sys.argv = sys.argv[1:], sys.argv[:1]
    from lightning_gans.errors import InputError, NonFiniteLoss

    try:
        if args and args[0] in COMMANDS:
            from lightning_gans import commands

            commands.run(args)
            return 0
        from lightning_gans import cli

        return _train(cli.run, args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NonFiniteLoss as error:
        print(f"training stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _train(run: object, args: list[str]) -> int:
    from lightning_gans.callbacks import Interrupted

    try:
        run(args)  # type: ignore[operator]
    except Interrupted as stop:
        print(f"{stop}; saved. Resume with the same command and --ckpt_path last", file=sys.stderr)
        return 128 + stop.signal_number
    return 0


if __name__ == "__main__":
    sys.exit(main())
