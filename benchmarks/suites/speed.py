"""Speed of steps against bdpy, with the same U-Net, network, photograph and layer."""

from benchmarks.driver import Measured, Refused, measure, quartiles, ratios
from benchmarks.options import Options
from benchmarks.table import Table
from benchmarks.work import Work


def run(options: Options) -> Table:
    """Measure milliseconds per step and problem, and the ratio of bdpy's time to ours."""
    table = Table("One step of one problem, Deep Image Prior on VGG19, against bdpy 0.26")
    table.note(
        "bdpy: its network's weights without gradients, which is kinder than its examples; those are 'as written'. "
        "Quartiles in brackets are of the ratio, round by round."
    )
    for size in options.sizes:
        for layer in options.layers:
            work = options.work.but(layer=layer, size=size)
            ours = [work.but(problems=1), work.but(problems=0), work.but(problems=0, precision=options.low_precision)]
            peers = [work.but(side="bdpy"), work.but(side="bdpy", without=("frozen weights",))]
            try:
                found = measure([*peers, *ours], options.pacing, options.threads)
            except Refused as refused:
                table.note(str(refused))
                found = measure(ours, options.pacing, options.threads)
            for measured in found:
                table.add(**_row(measured, found[0] if found[0].work.side == "bdpy" else None))
    return table


def _row(measured: Measured, peer: Measured | None) -> dict[str, object]:
    work = measured.work
    row: dict[str, object] = {
        "pixels": work.size,
        "layer": work.layer,
        "side": _name(work),
        "problems": measured.problems,
        "ms": quartiles(measured.milliseconds())[1],
        "CPU ms": quartiles(measured.milliseconds("cpu"))[1],
        "steps × problems / s": 1e3 / quartiles(measured.milliseconds())[1],
    }
    if peer is not None:
        first, middle, third = quartiles(ratios(peer, measured))
        row |= {
            "bdpy / this": middle,
            "quartiles": (first, third),
            "by CPU": quartiles(ratios(peer, measured, "cpu"))[1],
        }
    return row


def _name(work: Work) -> str:
    if work.side == "bdpy":
        return "bdpy, as written" if work.without else "bdpy"
    return f"ours, {work.precision}"
