"""The rest of a network: the classes it gives to a feature put in place of a layer's own."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors.base import FeatureExtractor
from readout.extractors.validate import contrasting_pair


def cut(extractor: FeatureExtractor, layer: str, example: Tensor) -> "RestOfNetwork":
    """Cut a classifier at a layer, and return the part behind it as a function of the layer's feature.

    Args:
        extractor: The network.
        layer: A name in ``extractor.layers``.
        example: Input in the user's space, on the extractor's device, shape (1, ...).

    Raises:
        ReadoutError: if the layer is no cut, with the nearest one that is; see :class:`RestOfNetwork` for others.

    Examples:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))
        >>> extractor = FeatureExtractor(network, layers={"conv": "0"})
        >>> x = torch.rand(5, 3, 8, 8)
        >>> rest = cut(extractor, "conv", x[:1])
        >>> torch.equal(rest(extractor.extract(x, "conv")), extractor.run(x))
        True
    """
    rest = RestOfNetwork(extractor, layer, example)
    if rest.is_cut:
        return rest
    nearest = _nearest_cut(extractor, layer, example)
    advice = f"choose {nearest!r}, the nearest that is" if nearest else "no layer of this network is"
    raise ReadoutError(
        f"Layer {layer!r} of {extractor.name} is no cut: the answer also depends on what runs beside it; {advice}."
    )


class RestOfNetwork:
    """The part of a classifier behind a layer, as a function of the layer's feature; made by :func:`cut`.

    Modules that end before the layer does, itself included, are not run: they return what they returned for the
    example. Those that return a tuple, or rows that are not the inputs, do run.

    Args:
        extractor: The network.
        layer: A name in ``extractor.layers``.
        example: Input in the user's space, on the extractor's device, shape (1, ...).

    Raises:
        ReadoutError: if there is no such layer, the network can't be run on the example, does not return one row of
            numbers per input or the same for any, or a feature can't be put back into the output of the layer's module.
    """

    is_cut: bool
    """Whether the output depends on the feature alone: if not, it depends on the example too."""

    @torch.no_grad()
    def __init__(self, extractor: FeatureExtractor, layer: str, example: Tensor) -> None:
        if isinstance(extractor.network, FeatureExtractor):
            raise ReadoutError(f"Layer {layer!r} joins several layers, and no network goes on from them; choose one.")
        extractor.extract(example, layer)  # refuses what is no layer
        self.extractor, self.layer, self.example = extractor, layer, example[:1]
        self._module = extractor.network.get_submodule(extractor.layers[layer])
        self._calls: list[tuple[nn.Module, Tensor | None]] = []
        self._copies = False
        output, answer = self._record(contrasting_pair(example[0]))
        _check_answers(extractor, answer)
        feature = extractor.feature(output, layer).clone()
        extractor.feature(output, layer).fill_(1)
        if not extractor.feature(output, layer).eq(1).all():
            raise ReadoutError(
                f"No feature can be put back at layer {layer!r} of {extractor.name}, because `feature` computes new "
                "values from the module's output; let it only select and transpose, or choose another layer."
            )
        # the second row is another input's feature among what the example has elsewhere
        try:
            self.is_cut = torch.equal(self(feature), answer)
        except RuntimeError:  # the network modifies what was replayed, or takes it in another memory layout
            self._copies = True
            self.is_cut = torch.equal(self(feature), answer)

    def __call__(self, feature: Tensor) -> Tensor:
        """Run the rest of the network.

        Args:
            feature: Feature as ``extractor.extract`` returns it, shape (batch, ...), of any dtype and memory layout.

        Returns:
            The network's output, shape (batch, classes), differentiable with respect to ``feature``.
        """

        def replace(output: Any) -> Any:
            output = _copy(output)  # it may share memory with the module's input
            place = self.extractor.feature(output, self.layer)
            place.copy_(feature.view_as(place))
            return output

        batch = len(feature)

        def repeat(x: Tensor) -> Tensor:
            repeated = x.expand(batch, *x.shape[1:])
            # a view of one row would let the network modify what was recorded; of several rows, it raises
            return repeated.clone() if self._copies or batch == 1 else repeated

        with _patched(_replay(self._calls, repeat)), self._first_output(replace):
            answer: Tensor = self.extractor.run(repeat(self.example))
        return answer

    def _record(self, x: Tensor) -> tuple[Any, Any]:
        """Run inputs, keep the outermost calls that end before the layer does; return its output and the network's."""
        reached: list[Any] = []

        def record(module: nn.Module, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            start = len(self._calls)
            output = own(*args, **kwargs)
            if not reached:
                rows = isinstance(output, Tensor) and output.shape[:1] == x.shape[:1]
                # what runs inside a call that need not run does not run either
                inside = [] if rows else self._calls[start:]
                self._calls[start:] = [(module, output[:1].clone() if rows else None), *inside]
            return output

        forwards = {part: partial(record, part, part.forward) for part in self.extractor.network.modules()}
        with (
            self.extractor.explained_size(x),
            _patched(forwards),
            self._first_output(lambda output: reached.append(_copy(output))),
        ):
            answer = self.extractor.run(x)
        return reached[0], answer

    @contextmanager
    def _first_output(self, change: Callable[[Any], Any]) -> Iterator[None]:
        """Change the output of the layer's first call; further calls of its module are behind the layer."""

        def changed(_module: nn.Module, _args: Any, output: Any) -> Any:
            hook.remove()
            return change(output)

        hook = self._module.register_forward_hook(changed)
        try:
            yield
        finally:
            hook.remove()


def _check_answers(extractor: FeatureExtractor, answer: Any) -> None:
    """Refuse a network that is no classifier, by its output for two inputs."""
    if not isinstance(answer, Tensor) or answer.ndim != 2 or len(answer) != 2 or answer.shape[1] < 2:
        shape = " × ".join(map(str, answer.shape[1:])) if isinstance(answer, Tensor) else type(answer).__name__
        raise ReadoutError(
            f"{extractor.name} is no classifier: it returns {shape} per input, not one row of numbers; choose a "
            "network with its classification head."
        )
    if not answer.isfinite().all():
        raise ReadoutError(f"{extractor.name} returns values that are not finite; check its weights and the precision.")
    if torch.equal(answer[0], answer[1]):
        raise ReadoutError(
            f"{extractor.name} gives an input and its darker mirror image the same answer; choose an input that is not "
            "blank, or check the weights."
        )


def _nearest_cut(extractor: FeatureExtractor, layer: str, example: Tensor) -> str | None:
    """Return the cut closest to a layer in the network's order, the deeper of two; None if there is none."""
    layers = list(extractor.layers)
    place = layers.index(layer)
    outward = sorted(layers, key=lambda other: (abs(layers.index(other) - place), layers.index(other) < place))
    for other in outward[1:]:
        with suppress(ReadoutError):  # it can't be a layer for other reasons
            if RestOfNetwork(extractor, other, example).is_cut:
                return other
    return None


def _replay(
    calls: Iterable[tuple[nn.Module, Tensor | None]], repeat: Callable[[Tensor], Tensor]
) -> dict[nn.Module, Callable[..., Any]]:
    """Return a ``forward`` for each module that was called: it repeats recorded outputs, then runs as it did."""
    recorded: dict[nn.Module, deque[Tensor | None]] = {}
    for module, output in calls:
        recorded.setdefault(module, deque()).append(output)

    def forward(own: Callable[..., Any], outputs: deque[Tensor | None], *args: Any, **kwargs: Any) -> Any:
        output = outputs.popleft() if outputs else None
        return own(*args, **kwargs) if output is None else repeat(output)

    return {module: partial(forward, module.forward, outputs) for module, outputs in recorded.items()}


@contextmanager
def _patched(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Replace the ``forward`` of modules inside the context."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, own in before.items():
            if own is None:  # it is the class's
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = own


def _copy(output: Any) -> Any:
    """Copy the tensors in a module's output."""
    return apply_to_collection(output, Tensor, torch.clone)
