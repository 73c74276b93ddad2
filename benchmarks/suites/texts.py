"""Speed of steps on texts, against a plain loop on transformers."""

from benchmarks.driver import measure, quartiles, ratios
from benchmarks.options import Options
from benchmarks.table import Table

LAYERS = ("layer.0", "layer.2", "layer.5")
PROBLEMS = (1, 4, 16)


def run(options: Options) -> Table:
    """Measure milliseconds per step and text with optimised token logits.

    Raises:
        Refused: if the weights can't be fetched.
    """
    table = Table("One step of one text, token logits on a 6-layer BERT, against a plain loop on transformers")
    for tokens in (32,) if options.quick else (32, 128):
        for layer in LAYERS[1:2] if options.quick else LAYERS:
            work = options.work.but(layer=layer, tokens=tokens)
            ours = [work.but(side="ours_text", problems=count) for count in PROBLEMS]
            found = measure([work.but(side="transformers"), *ours], options.pacing, options.threads)
            for measured in found:
                first, middle, third = quartiles(ratios(found[0], measured))
                table.add(
                    tokens=tokens,
                    layer=layer,
                    side="transformers" if measured.work.side == "transformers" else "ours",
                    problems=measured.problems,
                    ms=quartiles(measured.milliseconds())[1],
                    **{"transformers / this": middle, "quartiles": (first, third)},
                )
    return table
