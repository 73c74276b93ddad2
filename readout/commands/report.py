"""The command ``report``: rewrite figures and page of output folders from the results on disk."""

from collections.abc import Sequence

from readout.analysis.external import holds_external, report_external
from readout.analysis.report import report
from readout.commands.early import report_arguments
from readout.common.errors import ReadoutError
from readout.store import ResultStore


def run(arguments: Sequence[str]) -> None:
    """Write the page of a folder, or one page that compares several."""
    parsed = report_arguments(arguments)
    if parsed.pictures:
        for folder in parsed.folders:
            ResultStore(folder).write_pictures()
    if len(parsed.folders) > 1 or not holds_external(parsed.folders[0]):
        print(report(parsed.folders, parsed.output, parsed.inputs))
        return
    if parsed.output or parsed.inputs:
        raise ReadoutError("--output and --inputs are for sweeps; leave them out for a folder of `invert`.")
    print(report_external(parsed.folders[0]))
