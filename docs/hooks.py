"""What MkDocs and mkdocstrings must be told about this package's pages and docstrings."""

import re

from griffe import Extension, Object

LINKED = re.compile(r":(?:class|meth|func|mod|exc):`([\w.]+)`")
"""reStructuredText roles that become links."""
PLAIN = re.compile(r":\w+:(`[^`]+`)")
"""Other roles: attributes and constants have no entry of their own on a page, so they stay code."""
CODE_FOLLOWS = re.compile(r"::$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """``python exec`` marks what tests/test_docs.py runs; a page shows plain Python."""
    return re.sub(r"^```python exec$", "```python", markdown, flags=re.MULTILINE)


class Roles(Extension):
    """Rewrites the reStructuredText of docstrings, which Markdown does not know."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Called for every object once its docstring is known."""
        if obj.docstring is not None:
            text = LINKED.sub(r"[`\1`][\1]", obj.docstring.value)
            obj.docstring.value = CODE_FOLLOWS.sub(":", PLAIN.sub(r"\1", text))
