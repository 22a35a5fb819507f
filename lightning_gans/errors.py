"""The exceptions that a person is meant to read."""


class InputError(Exception):
    """Bad input: one sentence that says what was wrong, where, and what to do.

    The command line prints the sentence and exits with status 2; no traceback is shown.
    """


class NonFiniteLoss(Exception):
    """A player's loss became NaN or infinite; the sentence names the step, the player and the last finite losses."""


class StoppedUnhealthy(Exception):
    """A run that was asked to stop when it goes wrong did; the sentence says what went wrong. The state is saved."""


class LostProcess(Exception):
    """Another process of a distributed run is gone; the sentence says how to go on."""


def first_sentence(error: BaseException) -> str:
    """The first line of what a library says is wrong."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def cause_in_a_sentence(error: BaseException) -> str:
    """What went wrong while classes were built, where a parser says only that no type of a union would do."""
    if not str(error).startswith("Does not validate against any of the Union subtypes"):
        return first_sentence(error)
    innermost = error
    while deeper := innermost.__cause__ or innermost.__context__:
        innermost = deeper
    return f"{type(innermost).__name__}: {first_sentence(innermost)}"


def input_error_within(error: BaseException) -> InputError | None:
    """The InputError that a library has wrapped in its own exceptions, if there is one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, InputError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
