"""A table for printing, Markdown and JSON."""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table as Printed


@dataclass
class Table:
    """Rows of plain values, and notes below them."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, **row: Any) -> None:
        """Add a row."""
        self.rows.append(row)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def show(self, console: Console) -> None:
        """Print the table."""
        printed = Printed(title=self.title, title_justify="left")
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        for column in columns:
            printed.add_column(column, justify="right" if self._is_number(column) else "left")
        for row in self.rows:
            printed.add_row(*(_text(row.get(column)) for column in columns))
        if self.rows:
            console.print(printed)
        for note in self.notes:
            console.print(f"  {note}")

    def markdown(self) -> str:
        """Return the table as Markdown."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [f"### {self.title}", ""]
        if self.rows:
            lines.append(f"| {' | '.join(columns)} |")
            lines.append(f"|{'|'.join('--:' if self._is_number(column) else '---' for column in columns)}|")
            lines += [f"| {' | '.join(_text(row.get(column)) for column in columns)} |" for row in self.rows]
            lines.append("")
        return "\n".join([*lines, *self.notes, ""])

    def _is_number(self, column: str) -> bool:
        return all(isinstance(row.get(column), int | float | None) for row in self.rows)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, list | tuple):
        return " – ".join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
