"""The software on which the last digits of answers depend."""

import lightning
import torch

from readout.version import __version__


def versions() -> dict[str, str]:
    """Return the versions of the software on which the bits of a resumed batch depend."""
    return {"readout": __version__, "torch": str(torch.__version__), "lightning": str(lightning.__version__)}
