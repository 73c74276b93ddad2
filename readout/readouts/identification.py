"""Identification: which of a set of candidates a feature is of."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError
from readout.data import InputData, Samples, load_samples
from readout.data.samples import values_digest
from readout.extractors import FeatureExtractor
from readout.metrics import ZeroOne
from readout.problems.identity import describe, digest
from readout.readouts.one_pass import OnePassReadout, check_memory, distinct

BATCH = 64
"""Candidates whose features are computed together."""


class Identification(OnePassReadout):
    """Identification of the input among candidates, by the nearest feature.

    The signal is the true input's index among the candidates, which are distinct images, the true one among them. Each
    result has its ``rank`` (1 for the nearest), the name of the nearest as ``recovered_sample``, ``two_way``, the share
    of wrong candidates that are farther away than the true one, and ``chance``, the probability of a correct guess.

    All candidates stay in memory.

    Args:
        extractor: Frozen network f.
        candidates: Images to choose from, which must include every input. Default: the inputs of the sweep.
        distance: ``"correlation"`` (d_H) or ``"euclidean"``.

    Raises:
        ReadoutError: if ``distance`` is neither.
    """

    signal_kind = "candidate"
    transient = OnePassReadout.transient | {"_prepared", "_nearness"}

    _prepared: tuple[str, Tensor] | None = None
    """Last layer, and the features of all candidates there, shape (candidates, dimensions)."""

    def __init__(
        self,
        extractor: FeatureExtractor,
        candidates: InputData | None = None,
        distance: Literal["correlation", "euclidean"] = "correlation",
    ) -> None:
        check_choice("distance", distance, ("correlation", "euclidean"))
        super().__init__(extractor, ZeroOne())
        self.candidates = candidates
        self.distance = distance
        self._names: list[str] = []
        self._places: dict[str, int] = {}

    def meet(self, samples: Samples, shape: Sequence[int] | None) -> None:
        """Copy the candidates.

        Raises:
            ReadoutError: if there are fewer than two, they have another shape than the inputs, or an input is not
                among them.
        """
        chosen = samples if self.candidates is None else load_samples(self.candidates, self.extractor)
        by_digest = {metadata.digest: name for name, metadata in chosen.metadata.items()}
        self._places = {key: place for place, key in enumerate(by_digest)}
        self._names = list(by_digest.values())
        if len(by_digest) < 2:
            number = "only one candidate" if by_digest else "no candidate"
            raise ReadoutError(f"There is {number}, so there is nothing to tell apart; give several.")
        self._images = chosen.stack(self._names)
        if shape is not None and tuple(shape) != self._images.shape[1:]:
            own, wanted = ("×".join(map(str, each)) for each in (self._images.shape[1:], shape))
            raise ReadoutError(f"The candidates are {own}, but the inputs {wanted}; set the size of model.candidates.")
        self._prepared = None
        # without candidates of their own, the inputs are among them
        others = {} if self.candidates is None else samples.metadata
        missing = [name for name, metadata in others.items() if metadata.digest not in self._places]
        if missing:
            raise ReadoutError(
                f"{len(missing)} of {len(samples)} inputs, such as {missing[0]!r}, are not among the "
                f"{len(self._names)} candidates and can't be identified; add them to model.candidates, or leave it "
                "out, which makes the inputs the candidates."
            )

    def describe(self, steps: int = 1) -> dict[str, Any]:
        """See :class:`Readout`; candidates go by their digests, whatever their order or names."""
        return {**describe(self, skip=("extractor", "candidates")), "candidates": digest(sorted(self._places))}

    def signal(self, inputs: Tensor) -> Tensor:
        """Return the indices of the true inputs among the candidates, shape (problems,); −1 if unknown."""
        first, rows = distinct(self.problems.names or range(len(inputs)))
        given = [values_digest(self.problems.inputs[place]) for place in first]
        places = torch.tensor([self._places.get(key, -1) for key in given], device=inputs.device)
        return places[rows]

    def read(self, feature: Tensor) -> Tensor:
        """Return the index of the nearest candidate to each feature, shape (problems,)."""
        if self._prepared is None or self._prepared[0] != self.problems.layer:
            self._prepared = None  # frees the layer before
            self._prepared = self.problems.layer, self._comparable(self._candidate_features())
        known, given = self._prepared[1].to(feature.device), self._comparable(feature.flatten(1).to(self._score_type))
        # −‖h' − f‖² but for ‖h'‖², which is the same for all; unit vectors have one norm
        self._nearness: Tensor = 2 * given @ known.T - known.square().sum(1)
        nearest: Tensor = self._nearness.argmax(1)
        return nearest

    def scores(self, recovered: Tensor) -> dict[str, Tensor]:
        """See :class:`OnePassReadout`."""
        count, true = self._nearness.shape[1], self._signal.clamp_min(0).unsqueeze(1)
        rank = (self._nearness > self._nearness.gather(1, true)).sum(1) + 1.0
        rank = rank.masked_fill(self._signal < 0, torch.nan)
        return {"rank": rank, "two_way": (count - rank) / (count - 1), "chance": torch.full_like(rank, 1 / count)}

    def describe_recovered(self, place: int, recovered: Tensor) -> dict[str, Any]:
        """Return the name of the nearest candidate."""
        return {"recovered_sample": self._names[int(recovered)]}

    def _comparable(self, flat: Tensor) -> Tensor:
        """Return vectors whose Euclidean distance orders as the chosen distance."""
        if self.distance == "euclidean":
            return flat
        centred = flat - flat.mean(1, keepdim=True)
        unit: Tensor = centred / centred.norm(dim=1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
        return unit

    def _candidate_features(self) -> Tensor:
        """Return the features of all candidates, shape (candidates, dimensions)."""
        found: list[Tensor] = []
        for images in torch.split(self._images, BATCH):
            feature = self._extract(images.to(self.device)).flatten(1)
            if not found:
                check_memory(feature[0], len(self._images), "candidates", self.problems.layer, "half")
            found.append(feature)
        return torch.cat(found)
