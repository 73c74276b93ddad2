"""``report``: figures and page of output folders, from what is on disk."""

from collections.abc import Sequence

from readout.analysis.external import holds_external, report_external
from readout.analysis.report import report
from readout.commands.early import report_arguments
from readout.common.errors import ReadoutError


def run(arguments: Sequence[str]) -> None:
    """Parse and write."""
    asked = report_arguments(arguments)
    if len(asked.folders) > 1 or not holds_external(asked.folders[0]):
        print(report(asked.folders, asked.output, asked.inputs))
        return
    if asked.output or asked.inputs:
        raise ReadoutError("--output and --inputs are for sweeps; the page of given features stays in its folder.")
    print(report_external(asked.folders[0]))
