"""Peak memory per text, in copies of its logits."""

from benchmarks.driver import Worker
from benchmarks.options import Options
from benchmarks.table import Table

STEPS = 5
FLOAT = 4
"""Bytes per value."""


def run(options: Options) -> Table:
    """Measure peak resident memory above that of the loaded model, in a separate process.

    Raises:
        Refused: if the weights can't be fetched.
    """
    table = Table("Peak memory of texts, token logits on a 6-layer BERT, against a plain loop on transformers")
    table.note(
        "Copies: peak over the bytes of one copy of the logits of all tokens. Logits, gradient and AdamW's two moments "
        "are four; what the network keeps for its backward pass comes on top. The loop takes one text at a time."
    )
    tokens = 32 if options.quick else 128
    for side, prior, count in (
        ("transformers", "all tokens", 1),
        *(("ours_text", prior, count) for prior in ("all tokens", "shortlist") for count in (1, 16)),
    ):
        work = options.work.but(side=side, prior=prior, layer="layer.0", tokens=tokens, problems=count)
        with Worker(work, options.threads) as worker:
            facts = worker.hear()
            peak = worker.turn(STEPS)["peak_bytes"] - facts["base_bytes"]
        logits = count * tokens * facts["vocabulary"] * FLOAT
        table.add(
            side="transformers" if side == "transformers" else "ours",
            logits=prior,
            texts=count,
            tokens=tokens,
            **{
                "MiB a text": peak / count / 2**20,
                "logits MiB a text": logits / count / 2**20,
                "copies": peak / logits,
            },
        )
    return table
