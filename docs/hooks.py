"""Hooks of MkDocs and mkdocstrings: adapt pages and docstrings to Markdown."""

import re

from griffe import Extension, Object

LINKED = re.compile(r":(?:class|meth|func|mod|exc):`([\w.]+)`")
"""reStructuredText roles that become links."""
PLAIN = re.compile(r":\w+:(`[^`]+`)")
"""Other roles, such as attributes and constants, have no entry on a page and stay code."""
CODE_FOLLOWS = re.compile(r"::$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Show ``python exec`` blocks, which tests run, as plain Python."""
    return re.sub(r"^```python exec$", "```python", markdown, flags=re.MULTILINE)


class Roles(Extension):
    """Converter of reStructuredText in docstrings to Markdown."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Convert the docstring of an object."""
        if obj.docstring is not None:
            text = LINKED.sub(r"[`\1`][\1]", obj.docstring.value)
            obj.docstring.value = CODE_FOLLOWS.sub(":", PLAIN.sub(r"\1", text))
