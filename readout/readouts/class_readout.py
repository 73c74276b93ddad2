"""The class that a network gives to a feature."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError
from readout.data import Metadata, Samples
from readout.extractors import FeatureExtractor
from readout.extractors.rest import RestOfNetwork, cut
from readout.metrics import ZeroOne
from readout.perturbations import Departure
from readout.problems.identity import digest
from readout.readouts.one_pass import OnePassReadout, distinct


class ClassReadout(OnePassReadout):
    """The class that the rest of the network, from the layer on, gives to a feature.

    The signal is the class that the network gives to the clean input, or the input's label. Each result has both
    classes by name, as ``recovered_class`` and ``true_class``, and the softmax ``probability`` of the true one.

    Args:
        extractor: A classifier. The layer must be a cut: everything that decides the class must pass through it.
        truth: ``"answer"`` for the network's own class on the clean input, ``"label"`` for the input's label.
        classes: Names of the network's outputs in order, by which labels are found. Default: the extractor's own, or
            else their numbers.

    Raises:
        ReadoutError: if ``truth`` is neither.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        truth: Literal["answer", "label"] = "answer",
        classes: Sequence[str] | None = None,
    ) -> None:
        check_choice("truth", truth, ("answer", "label"))
        super().__init__(extractor, ZeroOne())
        self.truth = truth
        self.signal_kind = "class" if truth == "answer" else "label"
        self.classes = classes
        self._labels: dict[str, str | None] = {}
        self._cut: tuple[str, RestOfNetwork] | None = None

    def meet(self, samples: Samples, shape: Sequence[int] | None) -> None:
        """Keep the labels, and forget the network's rest, whose example may have another shape."""
        self._cut = None
        self._labels = {name: metadata.label for name, metadata in samples.metadata.items()}

    def input_digest(self, metadata: Metadata) -> str:
        """See :class:`Readout`; covers the label if that is the truth."""
        own = super().input_digest(metadata)
        return own if self.truth == "answer" else digest([own, metadata.label])

    def check_layer(self, layer: str, example: Tensor) -> None:
        """Check that the layer is a cut, and that every label is a class.

        Raises:
            ReadoutError: if not.
        """
        with torch.no_grad():
            answer = self._rest(layer, example.shape[1:])(self.extractor.extract(example.to(self._type), layer))
        names = self._names(answer.shape[1])
        strange = {name: label for name, label in self._labels.items() if label not in names}
        if self.truth == "label" and strange:
            name, label = next(iter(strange.items()))
            said = f"Input {name!r} has no label" if label is None else f"The label of {name!r} is {label!r}"
            raise ReadoutError(
                f"{said}, but one of the {len(names)} classes {names[0]!r} to {names[-1]!r} is needed; set "
                "model.classes to the names of the network's outputs, or model.truth to answer."
            )

    def signal(self, inputs: Tensor) -> Tensor:
        """Return the true classes, shape (problems,); −1 if unknown."""
        first, rows = distinct(self.problems.names or range(len(inputs)))
        clean = self._target.clean[first]
        answers: Tensor = self._rest(self.problems.layer, inputs.shape[1:])(clean.to(self._type))
        self._classes = self._names(answers.shape[1])
        if self.truth == "answer":
            return answers.argmax(1)[rows].masked_fill(self._unknown, -1)
        labels = [self._labels.get(self.problems.names[place]) for place in first]
        places = [self._classes.index(label) if label in self._classes else -1 for label in labels]
        return torch.tensor(places, device=inputs.device)[rows]

    def read(self, feature: Tensor) -> Tensor:
        """Return the class of each feature, shape (problems,)."""
        answers: Tensor = self._rest(self.problems.layer, self.problems.inputs.shape[1:])(feature)
        self._probabilities = answers.to(self._score_type).softmax(1)
        return answers.argmax(1)

    @property
    def departure(self) -> Departure:
        """See :class:`Readout`: the largest logit of another class than the network's own, minus the logit of that."""

        def margin(moved: Tensor, clean: Tensor, inputs: Tensor) -> Tensor:
            rest = self._rest(self.problems.layer, self.problems.inputs.shape[1:])
            own = rest(clean).argmax(1, keepdim=True)
            answers = rest(moved)
            others = answers.scatter(1, own, -torch.inf).amax(1)
            return others - answers.gather(1, own).squeeze(1)

        return margin

    def scores(self, recovered: Tensor) -> dict[str, Tensor]:
        """See :class:`OnePassReadout`."""
        true = self._probabilities.gather(1, self._signal.clamp_min(0).unsqueeze(1)).squeeze(1)
        return {"probability": true.masked_fill(self._signal < 0, torch.nan)}

    def describe_recovered(self, place: int, recovered: Tensor) -> dict[str, Any]:
        """Return the names of both classes; None for an unknown one."""
        true = int(self._signal[place])
        return {
            "recovered_class": self._classes[int(recovered)],
            "true_class": self._classes[true] if true >= 0 else None,
        }

    def _rest(self, layer: str, shape: torch.Size) -> RestOfNetwork:
        if self._cut is None or self._cut[0] != layer:
            noise = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
            self._cut = layer, cut(self.extractor, layer, noise.to(self.device, self._type))
        return self._cut[1]

    def _names(self, count: int) -> list[str]:
        """Return the names of the network's classes.

        Raises:
            ReadoutError: if there are more or fewer names than outputs.
        """
        names = list(self.classes or self.extractor.classes or map(str, range(count)))
        if len(names) != count:
            raise ReadoutError(f"model.classes has {len(names)} names, but the network has {count} outputs.")
        return names
