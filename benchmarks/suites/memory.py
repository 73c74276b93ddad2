"""Peak memory per problem, against the number of steps and of problems."""

from benchmarks.driver import Worker
from benchmarks.options import Options
from benchmarks.table import Table


def run(options: Options) -> Table:
    """Measure peak resident memory above that of the loaded network, in a separate process."""
    table = Table("Peak memory of one problem")
    table.note("Above the process with its network loaded. With few problems the libraries' own working space shows.")
    layer = "conv2_1"
    for count in (1, 16) if options.quick else (1, 4, 16, 64):
        table.add(**_row(options, layer, 64, count, steps=(5, 50)))
    if not options.quick:
        table.add(**_row(options, layer, 64, 16, steps=(5, 500)))
        for deep in ("conv1_2", "conv5_2"):
            table.add(**_row(options, deep, 64, 16, steps=(5, 50)))
        table.add(**_row(options, layer, 224, 4, steps=(5, 20)))
    return table


def _row(options: Options, layer: str, size: int, count: int, steps: tuple[int, int]) -> dict[str, object]:
    with Worker(options.work.but(layer=layer, size=size, problems=count), options.threads) as worker:
        base = worker.hear()["base_bytes"]
        few, many = (worker.turn(number)["peak_bytes"] - base for number in steps)
    return {
        "pixels": size,
        "layer": layer,
        "problems": count,
        f"MiB after {steps[0]} steps": few / count / 2**20,
        "more steps": steps[1],
        "MiB after those": many / count / 2**20,
        "growth": f"{many / few - 1:+.0%}",
    }
