"""``python -m benchmarks.worker WORK``: do one side's work in a separate process, at the driver's pace."""

import json
import sys
from importlib import import_module

from benchmarks.pace import tell
from benchmarks.work import Work
from readout.common.errors import ReadoutError
from readout.sweep.runtime import quiet_lightning

SIDES = {
    "ours": "benchmarks.sides.ours",
    "ours_text": "benchmarks.sides.ours_text",
    "bdpy": "benchmarks.sides.bdpy",
    "plenoptic": "benchmarks.sides.plenoptic",
    "transformers": "benchmarks.sides.transformers",
    "ours_codes": "benchmarks.sides.ours_codes",
    "sklearn_codes": "benchmarks.sides.sklearn_codes",
    "machine": "benchmarks.sides.machine",
}


def main() -> None:
    """Run until the driver closes the pipe."""
    work = Work.from_dict(json.loads(sys.argv[1]))
    try:
        with quiet_lightning():
            import_module(SIDES[work.side]).run(work)
    except ImportError as error:
        tell({"refused": f"{error.name or error} is not installed; `pip install -e '.[bench]'` brings all peers."})
    except ReadoutError as error:
        tell({"refused": str(error)})


if __name__ == "__main__":
    main()
