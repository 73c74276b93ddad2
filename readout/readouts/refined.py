"""An inversion that begins at a trained readout's answer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from readout.common.errors import ReadoutError
from readout.data import Samples
from readout.extractors import FeatureExtractor
from readout.priors import Pixels, Prior
from readout.readouts.batch import ProblemBatch
from readout.readouts.inversion import ImageInversion
from readout.readouts.trained import TrainedReadout

StartFactory = Callable[[FeatureExtractor], TrainedReadout]


class RefinedInversion(ImageInversion):
    """An inversion that begins at what a trained readout read from h′, instead of noise.

    It is another readout than either: what it reads depends on the start as well as on the prior. The trained readout
    sees h′ alone, and is trained at each layer before anything is read. Readings begin at the same answer, each with
    the prior's own noise around it.

    Args:
        extractor: Frozen network f.
        start: Builds the trained readout from the extractor: a class with its arguments, or a partial.
        prior: Prior that can begin at an input. Default: :class:`readout.priors.Pixels` under total variation.
        kwargs: See :class:`FeatureInversion`.

    Raises:
        ReadoutError: if the prior can't begin at an input.

    Examples:
        >>> from functools import partial
        >>> from readout.data import UniformNoise
        >>> from readout.extractors import OrthonormalLinear
        >>> from readout.readouts import LinearDecoder
        >>> start = partial(LinearDecoder, training_data=UniformNoise(64, (3, 8, 8)))
        >>> RefinedInversion(OrthonormalLinear(), start).title
        'LinearDecoder, refined · Pixels · paper protocol'
    """

    def __init__(
        self, extractor: FeatureExtractor, start: StartFactory, prior: Prior | None = None, **kwargs: Any
    ) -> None:
        super().__init__(extractor=extractor, prior=prior or Pixels(total_variation=0.1), **kwargs)
        if type(self.prior).start_from is Prior.start_from:
            raise ReadoutError(f"A {self.prior_name} can't begin at an input; set the prior to Pixels.")
        self.start = start(extractor)

    @property
    def title(self) -> str:
        """See :class:`Readout`."""
        return f"{type(self.start).__name__}, refined · {super().title}"

    @property
    def trained(self) -> TrainedReadout:
        """See :class:`Readout`."""
        return self.start

    def meet(self, samples: Samples, shape: Sequence[int] | None) -> None:
        """See :class:`Readout`."""
        super().meet(samples, shape)
        self.start.meet(samples, shape)

    def columns(self) -> dict[str, Any]:
        """Return what the start is, and what it was trained on."""
        return {"start": type(self.start).__name__, **self.start.columns()}

    def load(self, problems: ProblemBatch) -> None:
        """See :class:`Readout`."""
        super().load(problems)
        self.start.load(problems)

    def on_train_start(self) -> None:
        """Begin at the answer of the trained readout, unless a checkpoint is resumed."""
        super().on_train_start()
        if self.resumed is None:
            with torch.no_grad(), self.trainer.precision_plugin.forward_context():
                self.prior.start_from(self.start.read(self._active_target.perturbed.to(self._type)))
