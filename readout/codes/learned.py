"""Codes by an encoder that was learnt together with the dictionary, as it is or refined by iterations."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from readout.codes.coder import Coder
from readout.codes.proximal import ISTA
from readout.codes.superposition import Superposition
from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor


class LearnedEncoder(Coder):
    """One pass of the dictionary's encoder.

    Args:
        active: See :class:`Coder`.
    """

    one_pass = True

    def __init__(self, active: int | None = None) -> None:
        super().__init__(active, nonnegative=True)

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """See :class:`Coder`.

        Raises:
            ReadoutError: if the dictionary has no encoder.
        """
        super().prepare_for(extractor)
        assert isinstance(extractor, Superposition)
        encoder = extractor.dictionary.encoder
        if encoder is None:
            raise ReadoutError(
                "The dictionary has no encoder; use a StoredDictionary that was learnt with one, or another coder."
            )
        self._encoder = (encoder,)  # not a submodule: it belongs to the dictionary, and stays in evaluation mode

    def steps(self, most: int) -> int:
        """Return 1."""
        return 1

    def iterate(self) -> None:
        """See :class:`Coder`."""
        self.codes = self._encoder[0].to(self.atoms.device)(self.feature, self.atoms)


class Refined(LearnedEncoder):
    """A coder's iterations, which begin at what the dictionary's encoder returns.

    Args:
        coder: The coder; its penalty, and which latents it keeps, count.
    """

    one_pass = False

    def __init__(self, coder: ISTA) -> None:
        super().__init__(coder.active)
        self.coder = coder
        self.nonnegative = coder.nonnegative

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """See :class:`Coder`."""
        super().prepare_for(extractor)
        self.coder.prepare_for(extractor)

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :class:`Coder`."""
        super().initialise(seeds, input_shape)
        self.coder.initialise(seeds, input_shape)
        self._begun = False

    def aim(self, feature: Tensor) -> None:
        """See :class:`Coder`."""
        super().aim(feature)
        self.coder.aim(feature)

    def steps(self, most: int) -> int:
        """Return the number of iterations, of which the encoder is the first."""
        return self.coder.steps(most)

    def iterate(self) -> None:
        """Run the encoder, and after that the coder."""
        if not self._begun:
            super().iterate()
            self.coder.start(self.codes)
            self._begun = True
            return
        self.coder.iterate()
        self.codes = self.coder.codes

    def progress(self) -> dict[str, Any]:
        """See :class:`readout.priors.Prior`."""
        return {**super().progress(), "begun": self._begun}

    def resume(self, progress: dict[str, Any]) -> None:
        """See :class:`readout.priors.Prior`."""
        self._begun = progress["begun"]
        super().resume({name: value for name, value in progress.items() if name != "begun"})

    def penalty(self, recovered: Tensor) -> Tensor:
        """See :class:`readout.codes.ISTA`."""
        return self.coder.penalty(recovered)

    def check(self, feature: Tensor) -> None:
        """See :class:`readout.codes.ISTA`."""
        self.coder.check(feature)
