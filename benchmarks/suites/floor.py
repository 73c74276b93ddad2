"""Share of the machine's best rate that a step reaches, and the shares of its parts."""

from benchmarks.driver import Measured, measure, quartiles
from benchmarks.options import Options
from benchmarks.table import Table

PARTS = ("generator", "encoder", "loss and record", "optimiser")


def run(options: Options) -> Table:
    """Compare the rate of a step's arithmetic with the machine's fastest convolution or matrix product."""
    table = Table("Share of the machine's rate, and of the time")
    table.note(
        "GFLOP: arithmetic of one step of one problem, generator and network up to the layer, forward and backward. "
        "Best: of the machine's fastest convolution or matrix product, measured in turns with the step. Generator "
        "and encoder: forward and backward. Rest: Lightning and Python between them."
    )
    for size in options.sizes:
        for layer in options.layers:
            for precision in ("32-true", options.low_precision):
                work = options.work.but(layer=layer, size=size, problems=0, precision=precision)
                ours, best = measure([work, work.but(side="machine")], options.pacing, options.threads)
                table.add(**_row(ours, best))
                table.note(f"Fastest in {precision}: {best.facts['job']}.")
    return table


def _row(ours: Measured, best: Measured) -> dict[str, object]:
    reached, possible = _gflops(ours), _gflops(best)
    shares = {part: f"{ours.part(part):.0%}" for part in PARTS}
    rest = 1 - sum(ours.part(part) for part in PARTS)
    return {
        "pixels": ours.work.size,
        "layer": ours.work.layer,
        "precision": ours.work.precision,
        "problems": ours.problems,
        "GFLOP": ours.facts["flops"] / 1e9,
        "floor ms": quartiles([ours.facts["flops"] / 1e6 / rate for rate in possible])[1],
        "ms": quartiles(ours.milliseconds())[1],
        "GFLOP/s": quartiles(reached)[1],
        "best": quartiles(possible)[1],
        "share": f"{quartiles([a / b for a, b in zip(reached, possible, strict=True)])[1]:.0%}",
        **shares,
        "rest": f"{rest:.0%}",
    }


def _gflops(measured: Measured) -> list[float]:
    return [measured.facts["flops"] / 1e6 / milliseconds for milliseconds in measured.milliseconds()]
