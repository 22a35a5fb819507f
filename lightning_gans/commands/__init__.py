"""Commands that work from a checkpoint alone."""

from lightning_gans.commands import encode, sample, traverse

MODULES = {"sample": sample, "traverse": traverse, "encode": encode}


def run(args: list[str]) -> None:
    """Run one of the commands.

    Args:
        args: Its name and its own arguments.
    """
    MODULES[args[0]].main(args[1:])
