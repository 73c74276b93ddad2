"""Texts with their wrong tokens marked."""

import html
from collections.abc import Collection, Sequence


def marked(true: Sequence[str], recovered: Sequence[str], wrong: Collection[int]) -> str:
    """A recovered text as HTML, each wrong token in a ``<mark>`` that names the true one when pointed at.

    Args:
        true: The true text, token by token.
        recovered: The recovered one, as many tokens.
        wrong: Places of the wrong tokens.
    """
    pieces = []
    for place, (right, found) in enumerate(zip(true, recovered, strict=True)):
        shown = html.escape(found)
        if place in wrong:
            space = " " * (len(shown) - len(shown.lstrip(" ")))
            shown = f'{space}<mark title="true: {html.escape(right.strip())}">{shown.lstrip(" ") or "∅"}</mark>'
        pieces.append(shown)
    return "".join(pieces)
