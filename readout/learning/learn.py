"""Learn: a dictionary from the features of each layer, into an output folder."""

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from readout.callbacks.dashboard import Dashboard
from readout.codes import Coder, StoredDictionary, Superposition
from readout.codes.stored import NAME, store
from readout.common.checks import check_max_steps
from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.common.signals import stoppable
from readout.common.terminal import say
from readout.executors import Desk, Executor, Here, Job, Lost, Watch
from readout.executors.bars import Bars
from readout.learning.activations import Activations, Rows
from readout.learning.exemplars import exemplars
from readout.learning.latents import ROWS, latents_table
from readout.learning.learned import Learned
from readout.learning.learner import DictionaryLearner
from readout.learning.page import write
from readout.metrics import FVU, L0
from readout.problems.identity import digest
from readout.problems.names import own_path
from readout.store import ResultStore
from readout.sweep.checkpoints import FOLDER as CHECKPOINTS
from readout.sweep.checkpoints import tidy
from readout.sweep.claims import FILE as CLAIM
from readout.sweep.claims import claimed, is_seen
from readout.sweep.reporter import Reporter
from readout.sweep.runtime import Runtime, quiet_lightning
from readout.sweep.training import TrainingCheckpoint, run_training

CHECKPOINT_MINUTES = 5.0

JUDGED = 20_000
"""Most held-out rows that a dictionary is judged by."""

FOLLOWED = 4096
"""Most held-out rows that move, for the table of latents."""

SHOWN = 16
"""Latents on the page, those active most often, with the parts of images to which they respond."""

ITERATIONS = 200
"""Iterations of a coder on held-out rows."""


def learn(
    learner: DictionaryLearner,
    data: Activations,
    output: str | Path,
    runtime: Runtime,
    console: Console | None = None,
    executor: Executor | None = None,
) -> Learned:
    """Learn a dictionary at one layer; see :func:`readout.learning.learn.learn_layers`, whose arguments these are.

    Examples:
        Latents of sums of known atoms, found from the sums alone:

        >>> from readout.codes import GaussianDictionary, SparseCodes
        >>> from readout.learning import Activations, AlternatingLearner
        >>> from readout.metrics import DictionaryMCC
        >>> true = GaussianDictionary(atoms=16, dimensions=8)
        >>> data = Activations(Superposition(true), "superposition", SparseCodes(1000, active=3), standardise=False)
        >>> learner = AlternatingLearner(16, penalty_weight=0.03)
        >>> learnt = learn(learner, data, "runs/learnt", Runtime({"max_steps": 120}))
        >>> metric = DictionaryMCC()
        >>> metric.update(true.atoms, learnt.dictionary.atoms)
        >>> bool(metric.compute() > 0.99)
        True
    """
    (learned,) = learn_layers(learner, data.at(data.layer), output, runtime, console, executor).values()
    return learned


def learn_layers(
    learner: DictionaryLearner,
    data: Activations,
    output: str | Path,
    runtime: Runtime,
    console: Console | None = None,
    executor: Executor | None = None,
) -> dict[str, Learned]:
    """Learn a dictionary at each layer, or go on where an interrupted run ended, and judge what was stored.

    Writes ``dictionary.safetensors``, ``learned.yaml``, ``latents.csv``, ``config.yaml`` and ``report.html``, and keeps
    the features in ``activations/``. Where a folder holds its dictionary already, nothing is learnt again.

    Args:
        learner: How.
        data: From what.
        output: Output folder; with several layers, each has a folder of its own in it.
        runtime: Makes the Trainer; its ``max_steps`` are the steps.
        console: Where progress goes; None shows none.
        executor: Where layers are learnt; default: in this process, one after the other. Workers must see the folder.

    Returns:
        By layer.

    Raises:
        ReadoutError: if steps are not set, features can't be used, a folder holds another dictionary, or a fit ended
            early.
        KeyboardInterrupt: after Ctrl-C, with a checkpoint written.
    """
    folder, executor, shown = user_path(output), executor or Here(), console or Console(quiet=True)
    folders = {layer: own_path(folder, layer) if len(data.layers) > 1 else folder for layer in data.layers}
    jobs = iter([LearnJob(layer, own) for layer, own in folders.items()])
    claim = folder / CHECKPOINTS / CLAIM
    learned: dict[str, Learned] = {}
    try:
        with ExitStack() as held:
            held.enter_context(quiet_lightning())
            check_max_steps(runtime.make_bare_trainer().max_steps, "training")
            work = LearnWork(learner, data, runtime.on(executor), claim, held.enter_context(claimed(claim)))
            held.enter_context(executor.opened(work))
            stop = held.enter_context(stoppable())
            bars = held.enter_context(Bars("learning at", shown))
            for job, answer in executor.run(lambda: next(jobs, None), Watch(stop, bars.report, partial(say, shown))):
                if isinstance(answer, Lost):
                    raise ReadoutError(f"Learning at layer {job.layer!r} ended its worker {answer.times} times.")
                learned[job.layer] = answer
                bars.done(job.name)
    finally:
        for each in {folder, *folders.values()}:
            tidy(each)
    for layer in folders:
        say(shown, f"{layer}: {learned[layer]}." if len(folders) > 1 else f"{learned[layer]}.")
    return {layer: learned[layer] for layer in folders}


@dataclass
class LearnWork:
    """The parts of the learning that every layer needs."""

    learner: DictionaryLearner
    data: Activations
    runtime: Runtime
    claim: Path
    text: str
    """Text of the claim; see :func:`readout.sweep.claims.claimed`."""


@dataclass
class LearnJob(Job):
    """Learning at one layer."""

    layer: str
    folder: Path

    def __post_init__(self) -> None:
        self.name = self.layer

    def do(self, work: LearnWork, desk: Desk, shared: None) -> Learned:
        """See :class:`Job`.

        Raises:
            ReadoutError: see :func:`readout.learning.learn.learn_layers`, and if this process does not see the output
                folder.
        """
        if not is_seen(work.claim, work.text):
            raise ReadoutError(f"A worker does not see {str(self.folder)!r}; give an output folder on a shared disk.")
        data, learner, runtime = work.data.at(self.layer), work.learner, work.runtime
        if len(work.data.layers) > 1:  # the next layer begins anew
            learner = copy.deepcopy(learner)
        trainer = runtime.make_bare_trainer()
        steps = trainer.max_steps
        rows = data.load(self.folder, trainer.strategy.root_device)
        key = digest([rows.key, learner.describe(), steps, str(trainer.precision)])[:32]
        if not _is_stored(self.folder / NAME, key):
            learner.begin(rows, steps)
            path = self.folder / CHECKPOINTS / f"{key}.ckpt"
            checkpoint = TrainingCheckpoint(path, CHECKPOINT_MINUTES, desk.stop, desk.say)
            with _dashboard(learner, data, self.folder, runtime).training(self.layer, key) as loggers:
                run_training(learner, checkpoint, runtime, loggers, Reporter(desk, self.name))
            if learner.steps_taken < steps:
                raise ReadoutError("The fit ended before its last step; remove what ends fits early, such as max_time.")
            store(learner.learnt(), self.folder / NAME, data.extractor, self.layer, key)
            path.unlink(missing_ok=True)
        learned = judged(StoredDictionary(str(self.folder)), learner.coder(), rows)
        latents = learned.latents.sort_values("frequency", ascending=False)["latent"][:SHOWN].tolist()
        parts = exemplars(data, learned.dictionary, learner.coder(), ITERATIONS, latents)
        shown = {} if parts is None else dict(zip(latents, parts, strict=True))
        write(learned, data, rows, self.folder, runtime.config, shown)
        return learned


@torch.no_grad()
def judged(dictionary: StoredDictionary, coder: Coder, rows: Rows) -> Learned:
    """Find what a stored dictionary does on rows that were held out.

    Args:
        dictionary: The dictionary.
        coder: Infers codes.
        rows: The features.
    """
    coder.prepare_for(Superposition(dictionary))
    feature = rows.standardised(rows.held_out, slice(0, JUDGED))
    unexplained, active = FVU(), L0()
    for some in torch.split(feature, ROWS):
        codes = coder.infer(some, ITERATIONS)
        unexplained.update(some, dictionary.decode(codes))
        active.update(codes)
    latents = latents_table(coder, feature[:FOLLOWED], ITERATIONS)
    return Learned(dictionary, latents, 1 - float(unexplained.compute()), float(active.compute()))


def _is_stored(path: Path, key: str) -> bool:
    """Return whether a folder holds a dictionary with this key.

    Raises:
        ReadoutError: if it holds another one.
    """
    if not path.exists():
        return False
    if StoredDictionary(str(path)).facts["key"] != key:
        raise ReadoutError(
            f"{str(path)!r} was learnt from other features or in another way; choose another output folder."
        )
    return True


def _dashboard(learner: DictionaryLearner, data: Activations, folder: Path, runtime: Runtime) -> Dashboard:
    """Return the run of the training in each logger."""
    facts = {
        "model": data.extractor.name,
        "weights": data.extractor.weights_name,
        "readout": type(learner).__name__,
        "prior": None,
        "lr": None,
        "steps": learner.steps,
    }
    return Dashboard(runtime.loggers, [], runtime.config, ResultStore(folder), facts, {})
