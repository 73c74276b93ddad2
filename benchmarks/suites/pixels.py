"""Speed of steps without a prior, against plenoptic's metamer synthesis."""

from benchmarks.driver import measure, quartiles, ratios
from benchmarks.options import Options
from benchmarks.table import Table


def run(options: Options) -> Table:
    """Measure milliseconds per step and problem with optimised pixels.

    Raises:
        Refused: if plenoptic is not installed.
    """
    table = Table("One step of one problem, pixels on VGG19, against plenoptic's Metamer")
    table.note("plenoptic gets the network cut at the layer, so it runs no more of it than ours does.")
    for size in options.sizes:
        for layer in options.layers:
            work = options.work.but(layer=layer, size=size, prior="pixels")
            found = measure(
                [
                    work.but(side="plenoptic"),
                    work.but(problems=1),
                    work.but(problems=0),
                    work.but(problems=0, precision=options.low_precision),
                ],
                options.pacing,
                options.threads,
            )
            for measured in found:
                first, middle, third = quartiles(ratios(found[0], measured))
                table.add(
                    pixels=size,
                    layer=layer,
                    side="plenoptic" if measured.work.side == "plenoptic" else f"ours, {measured.work.precision}",
                    problems=measured.problems,
                    ms=quartiles(measured.milliseconds())[1],
                    **{"plenoptic / this": middle, "quartiles": (first, third)},
                )
    return table
