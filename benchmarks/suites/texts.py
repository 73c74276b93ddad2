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
    table.note("The shortlist is another readout than logits of all tokens: docs/performance.md has their agreement.")
    problems = PROBLEMS[::2] if options.quick else PROBLEMS
    for tokens in (32,) if options.quick else (32, 128):
        for layer in LAYERS[1:2] if options.quick else LAYERS:
            loop = options.work.but(side="transformers", layer=layer, tokens=tokens)
            ours = [
                loop.but(side="ours_text", prior=prior, precision=precision, problems=count)
                for prior in ("all tokens", "shortlist")
                for precision, counts in (("32-true", problems), (options.low_precision, problems[-1:]))
                for count in counts
            ]
            found = measure([loop, *ours], options.pacing, options.threads)
            for measured in found:
                first, middle, third = quartiles(ratios(found[0], measured))
                plain = measured.work == loop
                table.add(
                    tokens=tokens,
                    layer=layer,
                    side="transformers" if plain else "ours",
                    logits="all tokens" if plain else measured.work.prior,
                    precision=measured.work.precision,
                    problems=measured.problems,
                    ms=quartiles(measured.milliseconds())[1],
                    **{"transformers / this": middle, "quartiles": (first, third)},
                )
    return table
