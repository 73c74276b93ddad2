"""Board: the actor of a Ray cluster on which jobs tell how far they are; it imports nothing that takes seconds."""

from readout.executors.base import Report


class Board:
    """Holds the newest report of each job until it is read, and whether to stop."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._reports: dict[str, Report] = {}
        self._said: list[str] = []
        self._stop = False

    def tell(self, report: Report) -> bool:
        """Take a report; return whether to stop."""
        self._reports[report.job] = report
        return self._stop

    def say(self, sentence: str) -> None:
        """Take a sentence for the user."""
        self._said.append(sentence)

    def read(self, stop: bool) -> tuple[list[Report], list[str]]:
        """Hand out what was told since the last time, and note whether to stop."""
        self._stop = stop
        found = [*self._reports.values()], self._said
        self._reports, self._said = {}, []
        return found
