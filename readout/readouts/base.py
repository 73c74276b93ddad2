"""The base class of readouts: what a sweep asks of each of them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from readout.codes.layer_coder import LayerCoder
from readout.common.errors import ReadoutError, reason
from readout.data import InputData, Metadata, Samples
from readout.extractors import FeatureExtractor
from readout.metrics import SampleMetric
from readout.perturbations import Departure, Origin
from readout.readouts.batch import Outcome, ProblemBatch
from readout.readouts.losses import FeatureLoss
from readout.readouts.target import Reasons, Target, make_target

if TYPE_CHECKING:
    from readout.readouts.trained import TrainedReadout


class Readout(LightningModule, ABC):
    """A readout π: reads a signal ŝ from the perturbed feature h' of every problem in a batch.

    Call :meth:`load` with a batch of problems, then :meth:`run`, and read :attr:`outcome`. :class:`readout.sweep.Sweep`
    does so for all problems of a configuration. A readout must not mix problems: each has the answer that it would have
    alone.

    Args:
        extractor: Frozen network f.
        metric: Distance d_S between the true and the recovered signal.
        metrics: Further metrics to report.

    Raises:
        ReadoutError: if ``metric`` is not a distance.
    """

    loss: FeatureLoss | None
    """Loss between f(ŝ) and h', for readouts that have one. Without it no verdict is ``not_converged``."""

    signal_kind: str = "input"
    """What is read, in one word; sizes of different kinds are not compared."""

    iterative: ClassVar[bool]
    """Whether it optimises until it stops; otherwise it needs one pass."""

    max_restarts: int = 0
    """Most restarts of a dead run, each from a fresh seed."""

    batch_limit: ClassVar[Mapping[str, int]]
    """Largest automatic batch size by kind of device; no measurement so far gains from more."""

    denoiser: LayerCoder | None
    """Replaces h' by the sum of atoms that its sparse code stands for, before it is read; d_H stays that of h'."""

    problems: ProblemBatch
    transient: ClassVar[set[str]] = {"problems", "outcome", "_inputs", "_unknown", "_target", "_reasons", "_signal"}
    """Attributes of the last batch or layer, which don't go along to other processes."""
    _started: float
    _target: Target
    _reasons: Reasons

    def __init__(self, extractor: FeatureExtractor, metric: SampleMetric, metrics: Sequence[SampleMetric] = ()) -> None:
        super().__init__()
        self.extractor = extractor
        self.metric = metric
        self.metrics = nn.ModuleList(metrics)
        if metric.higher_is_better is not False:
            raise ReadoutError(f"{metric.name} is a similarity and can't serve as d_X; choose a distance.")
        self.loss = None
        self.denoiser = None
        self.outcome: Outcome | None = None
        for scored in (metric, *metrics):
            scored.prepare_for(extractor)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the last batch, and data, of which :meth:`meet` has copied what is needed."""
        state: dict[str, Any] = super().__getstate__()
        return {
            name: value
            for name, value in state.items()
            if name not in self.transient and not isinstance(value, InputData)
        }

    @property
    def title(self) -> str:
        """The readout in a few words, for plans and pages."""
        return type(self).__name__

    @property
    def prior_name(self) -> str | None:
        """Class of the prior, if the readout has one."""
        return None

    @property
    def protocol_name(self) -> str | None:
        """Name of the rule that ends an iterative readout; None for a readout in one pass."""
        return None

    @property
    def needs_true_input(self) -> bool:
        """Whether it can't run where the true input is unknown."""
        return False

    @property
    def trained(self) -> "TrainedReadout | None":
        """The part whose weights are trained at each layer before anything is read; by default there is none."""
        return None

    @property
    def steps_taken(self) -> int:
        """Number of steps taken in the running fit."""
        return self.trainer.global_step

    @abstractmethod
    def describe(self, steps: int = 1) -> dict[str, Any]:
        """Return everything about the readout that decides its answers, as plain data for keys.

        Args:
            steps: Optimisation steps of a fit.

        Raises:
            ReadoutError: if a part can't be used.
        """

    def meet(self, samples: Samples, shape: Sequence[int] | None) -> None:
        """Copy what the readout needs of the inputs, before anything else is asked; by default nothing.

        Args:
            samples: True inputs, as far as they are known.
            shape: Shape of every input; None for texts.
        """

    def input_digest(self, metadata: Metadata) -> str:
        """Return the digest of everything about an input that decides answers; by default of its values alone."""
        return metadata.digest

    @abstractmethod
    def steps(self, trainer: Trainer, inputs: Iterable[Tensor]) -> int:
        """Return the most steps that these inputs take; 1 for a readout in one pass.

        Raises:
            ReadoutError: if the Trainer does not say.
        """

    def check_layer(self, layer: str, example: Tensor) -> None:
        """Check that signals can be read at a layer; by default at every one.

        Args:
            layer: Layer name.
            example: An input in the extractor's form, shape (1, ...), on the device of the readout.

        Raises:
            ReadoutError: if they can't.
        """

    def load(self, problems: ProblemBatch) -> None:
        """Set the batch of problems to read."""
        self.problems = problems
        self.outcome = None

    @abstractmethod
    def run(self, trainer: Trainer, checkpoint: str | None = None) -> None:
        """Read the signals of the batch, and set :attr:`outcome`.

        Args:
            trainer: Runs the readout.
            checkpoint: Path of a checkpoint of this batch to go on from.
        """

    def embed(self, inputs: Tensor) -> Tensor:
        """Convert inputs to the extractor's form; by default they have it.

        Args:
            inputs: True or recovered inputs, shape (problems, *input_shape).

        Raises:
            ReadoutError: if the inputs are token ids, and the readout is not for texts.
        """
        if not inputs.is_floating_point():
            raise ReadoutError(f"{type(self).__name__} can't invert texts; set the model to TextInversion.")
        return inputs

    def signal(self, inputs: Tensor) -> Tensor:
        """Return the true signals s of the batch, as metrics take them; by default the inputs.

        Args:
            inputs: True inputs, shape (problems, *input_shape).
        """
        return inputs

    @property
    def departure(self) -> Departure | None:
        """How far an answer departs from the truth, as a function that can be differentiated; None if there is none.

        It takes moved features h', clean features h and inputs, of shape (problems, ...) each, and returns a value per
        problem that is the larger the less of the signal can be read. :class:`readout.perturbations.NearestLoss` climbs
        it.
        """
        return None

    def check_scores(self, x: Tensor) -> None:
        """Check that every metric can score signals like this one, by scoring it against itself.

        Args:
            x: An input, shape (*input_shape).

        Raises:
            ReadoutError: if a metric fails or returns no value.
        """
        signal = self.signal(x.unsqueeze(0))
        for metric in (self.metric, *self.metrics):
            assert isinstance(metric, SampleMetric)
            why = "it returns no value"
            try:
                with torch.no_grad():
                    values = metric.per_sample(signal.to(metric.device), signal.to(metric.device))
                good = values.shape == (1,) and not values.isnan().any()
            except ReadoutError:
                raise
            except Exception as error:
                good, why = False, reason(error)
            if not good:
                raise ReadoutError(
                    f"{type(metric).__name__} can't score inputs of {' × '.join(map(str, x.shape))} ({why}); use "
                    "larger ones, or choose other metrics."
                )

    def columns(self) -> dict[str, Any]:
        """Return further columns that all rows of results share, such as what it was trained on; by default none."""
        return {}

    def describe_recovered(self, place: int, recovered: Tensor) -> dict[str, Any]:
        """Return further columns of one problem's results, such as decoded texts; by default none.

        Args:
            place: Index of the problem in the batch.
            recovered: Recovered signal.
        """
        return {}

    def _begin(self) -> None:
        """Compute h, h', the true signals and, with a loss, its value at the true input."""
        self._started = time.perf_counter()
        self.extractor.lay_out(self.device)
        inputs = self.problems.inputs.to(self.device)
        self._inputs = inputs.to(self._score_type) if inputs.is_floating_point() else inputs
        self._unknown = ~self.problems.known.to(self.device)
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            clean = self._clean_features()
            mask = None if self.problems.mask is None else self.problems.mask.to(self.device)
            self._target, self._reasons = make_target(clean, self.problems, mask, self.loss, self._origin(clean))
            if self.denoiser is not None:
                self._target = self._target.denoised(self.denoiser(self._target.perturbed))
            self._signal = self.signal(self._inputs)

    def _clean_features(self) -> Tensor:
        return self._extract(self.embed(self._inputs))

    def _origin(self, clean: Tensor) -> Origin | None:
        if not self.problems.perturbation.needs_origin:
            return None
        embedded = self.embed(self._inputs).to(self._type)
        names, others = self.problems.names, self.problems.others
        return Origin(self.extractor, self.problems.layer, embedded, clean, names, self.departure, others)

    @property
    def _type(self) -> torch.dtype:
        assert isinstance(self.dtype, torch.dtype)
        return self.dtype

    @property
    def _score_type(self) -> torch.dtype:
        return torch.promote_types(self._type, torch.float32)

    def _extract(self, inputs: Tensor) -> Tensor:
        # autocast or half precision may give a half-precision feature; losses and distances need float32 at least
        return self._feature(inputs.to(self._type)).to(self._score_type)

    def _feature(self, inputs: Tensor) -> Tensor:
        return self.extractor.extract(inputs, self.problems.layer)

    def _measure(self, metric: SampleMetric, recovered: Tensor) -> Tensor:
        """Score recovered signals, shape (problems,); NaN where the true input is unknown."""
        return metric.per_sample(recovered, self._signal).masked_fill(self._unknown, torch.nan)
