"""``report``: figures and page of an output folder, from what is on disk."""

import argparse
from collections.abc import Sequence

from readout.analysis.report import report


def run(arguments: Sequence[str]) -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser("readout report", description="Make figures and report.html again.")
    parser.add_argument("folder", help="output folder of a sweep")
    print(report(parser.parse_args(arguments).folder))
