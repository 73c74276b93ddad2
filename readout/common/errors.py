"""The exception that a user is meant to read."""


class ReadoutError(Exception):
    """Something the user can put right: one sentence that says what is wrong and what to do.

    The command line prints the sentence alone and ends with exit code 2.
    """


def user_error(error: BaseException | None) -> ReadoutError | None:
    """The :class:`ReadoutError` behind an exception, if any; parsers wrap it in errors of their own."""
    while error is not None and not isinstance(error, ReadoutError):
        error = error.__cause__ or error.__context__
    return error


def reason(error: BaseException) -> str:
    """The first lines of an exception, short enough for a sentence."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words.rstrip(".") if len(words) <= 240 else f"{words[:240]} …"
