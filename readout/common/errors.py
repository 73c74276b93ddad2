"""The exception that addresses the user."""


class ReadoutError(Exception):
    """An error that the user can correct: one sentence that says what is wrong and what to do.

    The command line prints only the sentence and exits with code 2.
    """


def user_error(error: BaseException | None) -> ReadoutError | None:
    """Return the :class:`ReadoutError` behind an exception, if any; parsers wrap it in their own errors."""
    while error is not None and not isinstance(error, ReadoutError):
        error = error.__cause__ or error.__context__
    return error


def reason(error: BaseException) -> str:
    """Return the message of an exception on one line, cut to fit into a sentence."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words.rstrip(".") if len(words) <= 240 else f"{words[:240]} …"
