"""Cost per problem, against the number of problems and their size."""

from benchmarks.driver import measure, quartiles, ratios
from benchmarks.options import Options
from benchmarks.table import Table

PROBLEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PIXELS = (32, 64, 96, 128, 224)
REFERENCE = 16


def run(options: Options) -> Table:
    """Measure each number of problems in turns with 16 problems, and each size alone."""
    table = Table("Cost of one problem, by number of problems and by size")
    layer = "conv2_1"
    for count in PROBLEMS[:6] if options.quick else PROBLEMS:
        work = options.work.but(layer=layer, size=64, problems=count)
        reference, measured = measure([work.but(problems=REFERENCE), work], options.pacing, options.threads)
        first, middle, third = quartiles(ratios(measured, reference))
        table.add(
            layer=layer,
            pixels=64,
            problems=count,
            ms=quartiles(measured.milliseconds())[1],
            **{f"this / {REFERENCE} problems": middle, "quartiles": (first, third)},
        )
    for size in PIXELS[:3] if options.quick else PIXELS:
        work = options.work.but(layer=layer, size=size, problems=2)
        (measured,) = measure([work], options.pacing, options.threads)
        took = quartiles(measured.milliseconds())[1]
        table.add(layer=layer, pixels=size, problems=2, ms=took, **{"ns a pixel": 1e6 * took / size**2})
    return table
