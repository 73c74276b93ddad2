"""``report``: figures and page of output folders, from what is on disk."""

import argparse
from collections.abc import Sequence

from readout.analysis.given import holds_given, report_given
from readout.analysis.report import report
from readout.errors import ReadoutError


def run(arguments: Sequence[str]) -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(
        "readout report", description="Make figures and report.html again, or compare output folders on one page."
    )
    parser.add_argument("folders", nargs="+", metavar="folder", help="output folder of a sweep, or one of `predict`")
    parser.add_argument(
        "--output", help="the page; default: report.html in the folder, or comparison.html where several folders are"
    )
    parser.add_argument(
        "--inputs", type=int, help="inputs whose recoveries the page holds by itself; default: what makes about 4 MB"
    )
    asked = parser.parse_args(arguments)
    if len(asked.folders) > 1 or not holds_given(asked.folders[0]):
        print(report(asked.folders, asked.output, asked.inputs))
        return
    if asked.output or asked.inputs:
        raise ReadoutError("--output and --inputs are for sweeps; the page of given features stays in its folder.")
    print(report_given(asked.folders[0]))
