"""The one exception that a person is meant to read."""


class InputError(Exception):
    """Bad input: one sentence that says what was wrong, where, and what to do.

    The command line prints the sentence and exits with status 2; no traceback is shown.
    """


class NonFiniteLoss(Exception):
    """A player's loss became NaN or infinite; the sentence names the step, the player and the last finite losses."""
