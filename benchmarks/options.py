"""Options of the benchmarks."""

from dataclasses import dataclass

from benchmarks.driver import Pacing
from benchmarks.work import Work

LAYERS = ("conv1_2", "conv2_1", "conv3_3", "conv4_2", "conv5_2")
SIZES = (64, 224)


@dataclass(frozen=True)
class Options:
    """Amount and place of the measurements."""

    pacing: Pacing
    threads: int
    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    quick: bool
    work: Work
    """Device and weights of all work."""
    reference: str = "runs/benchmarks/paper"
    """Folder of runs of the paper's protocol."""

    @property
    def low_precision(self) -> str:
        """Precision to compare float32 with."""
        return "bf16-mixed"
