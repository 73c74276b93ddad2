"""Gain of each fast path: the engine with and without it."""

from benchmarks.driver import measure, quartiles, ratios
from benchmarks.options import Options
from benchmarks.table import Table

PATHS = ("one network", "channels last", "fused update", "kept memory")
MEANINGS = {
    "one network": "all generators as one network of grouped convolutions, against vmap",
    "channels last": "the encoder's features with channels last, against channels first",
    "fused update": "AdamW in one kernel, against its loop",
    "kept memory": "freed memory kept for the next step, against the allocator's own ways",
    "eager": "the same without torch.compile, against the generator compiled",
}


def run(options: Options) -> Table:
    """Measure by which factor a step slows down without each fast path."""
    table = Table("Fast paths, one left out at a time")
    paths = PATHS if options.quick else (*PATHS, "eager")
    for size in options.sizes:
        for layer in options.layers[:: 1 if options.quick else 2]:
            work = options.work.but(layer=layer, size=size, problems=4)
            sides = [work, *(work.but(without=(path,)) for path in paths), work.but(precision=options.low_precision)]
            whole, *others = measure(sides, options.pacing, options.threads)
            table.add(pixels=size, layer=layer, path="everything, float32", ms=quartiles(whole.milliseconds())[1])
            for path, other in zip((*paths, options.low_precision), others, strict=True):
                first, middle, third = quartiles(ratios(other, whole))
                table.add(
                    pixels=size,
                    layer=layer,
                    path=f"without: {path}" if path in MEANINGS else f"in {path}",
                    ms=quartiles(other.milliseconds())[1],
                    **{"this / everything": middle, "quartiles": (first, third)},
                )
    for path in paths:
        table.note(f"{path}: {MEANINGS[path]}.")
    return table
