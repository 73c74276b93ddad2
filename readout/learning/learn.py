"""Learn: one dictionary from the features of a layer, into an output folder."""

from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from readout.callbacks.dashboard import Dashboard
from readout.codes import Coder, StoredDictionary, Superposition
from readout.codes.stored import NAME, store
from readout.common.checks import check_max_steps
from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.common.signals import stoppable
from readout.common.terminal import say
from readout.learning.activations import Activations, Rows
from readout.learning.exemplars import exemplars
from readout.learning.latents import ROWS, latents_table
from readout.learning.learned import Learned
from readout.learning.learner import DictionaryLearner
from readout.learning.page import write
from readout.metrics import FVU, L0
from readout.problems.identity import digest
from readout.store import ResultStore
from readout.sweep.checkpoints import FOLDER as CHECKPOINTS
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
    learner: DictionaryLearner, data: Activations, output: str | Path, runtime: Runtime, console: Console | None = None
) -> Learned:
    """Learn a dictionary, or go on where an interrupted run ended, and judge what was stored.

    Writes ``dictionary.safetensors``, ``learned.yaml``, ``latents.csv``, ``config.yaml`` and ``report.html``, and keeps
    the features in ``activations/``. Where the folder holds this dictionary already, nothing is learnt again.

    Args:
        learner: How.
        data: From what.
        output: Output folder.
        runtime: Makes the Trainer; its ``max_steps`` are the steps.
        console: Where progress goes; None shows none.

    Raises:
        ReadoutError: if steps are not set, features can't be used, the folder holds another dictionary, or the fit
            ended early.
        KeyboardInterrupt: after Ctrl-C, with a checkpoint written.

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
    folder, shown = user_path(output), console or Console(quiet=True)
    with quiet_lightning(), stoppable() as stop:
        trainer = runtime.make_bare_trainer()
        steps = check_max_steps(trainer.max_steps, "training")
        rows = data.load(folder, trainer.strategy.root_device)
        key = digest([rows.key, learner.describe(), steps, str(trainer.precision)])[:32]
        if not _is_stored(folder / NAME, key):
            learner.begin(rows, steps)
            path = folder / CHECKPOINTS / f"{key}.ckpt"
            checkpoint = TrainingCheckpoint(path, CHECKPOINT_MINUTES, stop, partial(say, shown))
            bar = _Progress(refresh_rate=20) if console else Callback()
            with _dashboard(learner, data, folder, runtime).training(data.layer, key) as loggers:
                run_training(learner, checkpoint, runtime, loggers, bar)
            if learner.steps_taken < steps:
                raise ReadoutError("The fit ended before its last step; remove what ends fits early, such as max_time.")
            store(learner.learnt(), folder / NAME, data.extractor, data.layer, key)
            path.unlink(missing_ok=True)
        learned = judged(StoredDictionary(str(folder)), learner.coder(), rows)
        latents = learned.latents.sort_values("frequency", ascending=False)["latent"][:SHOWN].tolist()
        parts = exemplars(data, learned.dictionary, learner.coder(), ITERATIONS, latents)
        shown_parts = {} if parts is None else dict(zip(latents, parts, strict=True))
    write(learned, data, rows, folder, runtime.config, shown_parts)
    say(shown, f"{learned}.")
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


class _Progress(RichProgressBar):
    """Lightning's progress bar, without the number of an epoch, which means nothing here."""

    def _get_train_description(self, current_epoch: int) -> str:
        return "learning"


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
