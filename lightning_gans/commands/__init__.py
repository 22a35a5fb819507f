"""Commands that work from checkpoints and scores alone."""

from lightning_gans.commands import compare, encode, ensemble, sample, traverse

MODULES = {"sample": sample, "traverse": traverse, "encode": encode, "compare": compare, "ensemble": ensemble}


def run(args: list[str]) -> None:
    """Run one of the commands.

    Args:
        args: Its name and its own arguments.
    """
    MODULES[args[0]].main(args[1:])
