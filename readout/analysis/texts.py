"""Recovered texts with wrong tokens marked."""

import html
from collections.abc import Collection, Sequence


def marked(true: Sequence[str], recovered: Sequence[str], wrong: Collection[int]) -> str:
    """Return a recovered text as HTML, each wrong token in a ``<mark>`` whose tooltip is the true one.

    Args:
        true: Tokens of the true text.
        recovered: Tokens of the recovered text, as many.
        wrong: Positions of wrong tokens.

    Examples:
        >>> marked(["a", " cat"], ["a", " hat"], wrong=[1])
        'a <mark title="true: cat">hat</mark>'
    """
    pieces = []
    for place, (right, found) in enumerate(zip(true, recovered, strict=True)):
        shown = html.escape(found)
        if place in wrong:
            space = " " * (len(shown) - len(shown.lstrip(" ")))
            shown = f'{space}<mark title="true: {html.escape(right.strip())}">{shown.lstrip(" ") or "∅"}</mark>'
        pieces.append(shown)
    return "".join(pieces)
