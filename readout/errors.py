"""The one exception that a user is meant to read."""


class ReadoutError(Exception):
    """Something the user can put right: one sentence that says what is wrong and what to do.

    The command line prints the sentence alone and ends with exit code 2.
    """
