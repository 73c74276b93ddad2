"""``report``: figures and page of an output folder, from what is on disk."""

import argparse
from collections.abc import Sequence

from readout.analysis.predictions import holds_predictions, report_predictions
from readout.analysis.report import report


def run(arguments: Sequence[str]) -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser("readout report", description="Make figures and report.html again.")
    parser.add_argument("folder", help="output folder of a sweep, or of `predict`")
    folder = parser.parse_args(arguments).folder
    print(report_predictions(folder) if holds_predictions(folder) else report(folder))
