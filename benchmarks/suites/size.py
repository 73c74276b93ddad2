"""Seconds until the representation size of one image at one layer is known."""

from benchmarks.driver import measure, quartiles
from benchmarks.options import Options
from benchmarks.table import Table
from benchmarks.work import LEVELS

PAPER_STEPS, QUICK_STEPS = 10_000, 150
QUICK_LEVELS = 5


def run(options: Options) -> Table:
    """The paper's protocol through bdpy and through ours, both extrapolated from measured rates.

    Raises:
        Refused: if bdpy is not there.
    """
    table = Table("Seconds to the representation size of one image at one layer")
    table.note(
        f"Extrapolated: measured milliseconds times the protocol's steps. The paper's: {len(LEVELS)} levels × "
        f"{PAPER_STEPS:,} steps. vgg_dip.yaml's: {QUICK_LEVELS} levels × {QUICK_STEPS} steps, another readout whose "
        "sizes are not the paper's."
    )
    for size in options.sizes:
        for layer in options.layers:
            work = options.work.but(layer=layer, size=size, problems=0)
            sides = [work.but(side="bdpy"), work, work.but(precision=options.low_precision)]
            peer, *ours = measure(sides, options.pacing, options.threads)
            paper = len(LEVELS) * PAPER_STEPS / 1e3
            slow = paper * quartiles(peer.milliseconds())[1]
            for measured in ours:
                took = quartiles(measured.milliseconds())[1]
                quick = QUICK_LEVELS * QUICK_STEPS / 1e3 * took
                table.add(
                    pixels=size,
                    layer=layer,
                    precision=measured.work.precision,
                    **{
                        "bdpy, paper": slow,
                        "ours, paper": paper * took,
                        "times": slow / (paper * took),
                        "ours, vgg_dip.yaml": quick,
                        "times less": slow / quick,
                    },
                )
    return table
