"""readout's inversion of texts, as a sweep runs it."""

from benchmarks.pace import Pace, resident_bytes
from benchmarks.sides.ours import ENDLESS, paced, where
from benchmarks.work import Work, language_model, problem_batch, text
from readout.common.memory import keep_freed_memory
from readout.priors import ShortlistLogits, TokenLogits
from readout.readouts import TextInversion
from readout.sweep.runtime import Runtime


def run(work: Work) -> None:
    """Invert a batch of copies of one text."""
    keep_freed_memory()
    extractor = language_model()
    runtime = Runtime(trainer={**where(work.device), "max_steps": ENDLESS, "precision": work.precision})
    inversion = TextInversion(extractor, ShortlistLogits() if work.prior == "shortlist" else TokenLogits())
    pace = Pace(work.problems, work.device, base_bytes=resident_bytes(), vocabulary=extractor.embedding.num_embeddings)
    inversion.load(problem_batch(work, text(work, extractor), work.problems))
    runtime.make_bare_trainer(paced(pace)).fit(inversion, range(ENDLESS))
