"""Bars: the progress of each running job as a bar."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from typing_extensions import Self

from readout.executors.base import Report


class Bars:
    """Shows the progress of each running job as a bar on a terminal.

    Args:
        doing: What jobs do, before their names.
        console: Where to show it.
    """

    def __init__(self, doing: str, console: Console) -> None:
        columns = (TextColumn(f"{doing} {{task.description}}"), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[words]}"), console=console)
        self._of: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def report(self, report: Report) -> None:
        """Note how far a job is."""
        if report.job not in self._of:
            self._of[report.job] = self._bars.add_task(report.job, total=report.steps, words="")
        self._bars.update(self._of[report.job], completed=report.step, words=report.words)

    def done(self, job: str) -> None:
        """Fill the bar of a job that is done, if it has one."""
        if job in self._of:
            self._bars.update(self._of[job], completed=self._bars.tasks[self._of[job]].total)
