"""FeatureExtractor: a frozen network with named layers."""

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from readout.common.checks import check_list, check_number, check_side
from readout.common.errors import ReadoutError, reason
from readout.extractors.watching import check_made, check_values, check_watchable, find_faults, first_outputs, innermost
from readout.problems.identity import digest, qualified_name, tensor_digest

SIZES = (64, 224, 299, 384, 32, 28, 48, 96, 128, 160, 192, 240, 256, 320, 336, 448, 512)
"""Image sides in pixels, in the order :meth:`FeatureExtractor.find_size` tries them."""

TOO_SMALL = re.compile(
    r"Calculated padded input size per channel"  # convolutions
    r"|Output size is too small"  # pooling
    r"|Padding size should be less than the corresponding input dimension"  # reflection padding
    r"|array of sliding blocks .* must be at least one"  # unfold
    r"|non-zero size for non-batch dimensions"  # adaptive pooling of nothing
    r"|Expected more than 1 spatial element"  # instance norm
    r"|Input and output sizes should be greater than 0"  # interpolation
)
"""PyTorch's error messages for an image that has shrunk to nothing."""


class FeatureExtractor(nn.Module):
    """A frozen network that runs only up to the requested layer.

    To add a model, pass its network and a map from layer names to submodules::

        class MyNet(FeatureExtractor):
            def __init__(self) -> None:
                network = load_my_network()
                super().__init__(network, layers={"early": "features.0", "late": "features.4"})

    Args:
        network: Network, called on the output of :meth:`preprocess`. Inputs are batches in the user's space (images:
            RGB in [0, 1], NCHW).
        layers: Public layer name → path of the submodule whose output is the feature (empty for the network itself), in
            forward order. Default: every innermost submodule with one feature per input, under its own path, in forward
            order; see :meth:`find_layers`.
        mean: Per-channel mean that :meth:`preprocess` subtracts.
        std: Per-channel standard deviation that :meth:`preprocess` divides by.

    Raises:
        ReadoutError: if ``network`` lacks a submodule named in ``layers``, or a lazy module is not initialised.

    Examples:
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3))
        >>> extractor = FeatureExtractor(network, layers={"early": "0", "late": "2"})
        >>> list(extractor.layers)
        ['early', 'late']
        >>> list(FeatureExtractor(network).layers)  # found by running the network
        ['0', '1', '2']
    """

    mean: Tensor
    std: Tensor

    channels_last: ClassVar[bool] = False
    """Whether convolutions may use the channels-last memory format: faster on CPUs and GPUs, same values.
    Leave it off for a network that calls ``view`` on a convolution's output."""

    capturable: ClassVar[bool] = False
    """Whether a CUDA graph can capture the network: no synchronisation, and the same operations in every step."""

    classes: Sequence[str] | None = None
    """Names of a classifier's classes, in the order of its output; None if unknown."""

    def __init__(
        self,
        network: nn.Module,
        layers: Mapping[str, str] | None = None,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        modules = dict(network.named_modules())
        for name, path in (layers or {}).items():
            if path not in modules:
                raise ReadoutError(
                    f"Layer {name!r} of {type(self).__name__} points at {path!r}, which the network does not "
                    f"have.{near_matches(path, modules)}"
                )
        check_made(network)
        self.network = network
        self._layers = None if layers is None else dict(layers)
        self._declared = self._layers
        self._faults: dict[str, str] = {}
        self._found_for: torch.Size | None = None
        device = next((weight.device for weight in network.parameters()), None)
        self.register_buffer("mean", _per_channel("mean", mean).to(device))
        self.register_buffer("std", _per_channel("std", std, above=0).to(device))
        self.requires_grad_(False)
        self.eval()

    @property
    def layers(self) -> dict[str, str]:
        """Layer name → path of its submodule, in forward order.

        Raises:
            ReadoutError: if layers were not named and the network can't be run to find them; see :meth:`find_layers`.
        """
        if self._layers is None:
            self.find_size()
        assert self._layers is not None
        return self._layers

    @layers.setter
    def layers(self, layers: Mapping[str, str]) -> None:
        self._layers = self._declared = dict(layers)

    @property
    def layers_named(self) -> bool:
        """Whether layers were named rather than left to be found by running the network."""
        return self._declared is not None

    def find_layers(self, x: Tensor) -> None:
        """Run the network to find its layers and their order, unless they were named.

        A submodule qualifies if its first call returns real numbers that depend on the input, one row per input; the
        innermost of these become layers. Submodules that never run, that run on something else (a parametrised
        weight) or whose rows are windows or tokens do not qualify.

        Args:
            x: Inputs in the user's space, shape (batch, ...). Only the shape matters: the network runs on seeded noise,
                so that all inputs of one shape get the same layers.

        Raises:
            ReadoutError: if the network can't run on inputs of this shape, or has no layer.
        """
        if not self.layers_named and x.shape[1:] != self._found_for:
            check_watchable(self.network)
            self._set_layers(self._watch(x), x.shape[1:])

    def find_size(self) -> int:
        """Find an image size that the network accepts, and its layers at that size.

        Returns:
            The side in pixels; the first of :data:`SIZES` if layers were named.

        Raises:
            ReadoutError: if the network accepts none of :data:`SIZES`, or has no layer.

        Examples:
            >>> from torch import nn
            >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 10))
            >>> FeatureExtractor(network).find_size()
            32
        """
        if self.layers_named:
            return SIZES[0]
        check_watchable(self.network)
        refused: list[ReadoutError] = []
        for size in SIZES:
            try:
                faults = self._watch(self.example(size))
            except ReadoutError as error:
                refused.append(error)
            else:
                self._set_layers(faults, self.example(size).shape[1:])
                return size
        why = reason(refused[0].__cause__ or refused[0])
        raise ReadoutError(
            f"{self.name} can't be run on images of {min(SIZES)} to {max(SIZES)} pixels to find its layers ({why}); "
            "name the layers or override `example`."
        )

    def choose_layers(self, paths: Sequence[str]) -> list[str]:
        """Choose layers from the submodules that qualify: by default, the innermost.

        Args:
            paths: Paths of these submodules, in forward order.
        """
        return innermost(paths)

    def _watch(self, x: Tensor) -> dict[str, str]:
        noise = torch.rand(2, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(self.mean)
        with self.explained_size(noise):
            return find_faults(self.network, self.feature, self.run, noise)

    def _set_layers(self, faults: dict[str, str], shape: torch.Size) -> None:
        found = [path for path, fault in faults.items() if not fault]
        if not found:
            raise ReadoutError(
                f"{self.name} has no layer: its output {faults['']}; pass a network whose submodules return tensors "
                "with one row per input."
            )
        self._faults, self._found_for = faults, shape
        self._layers = {path or type(self.network).__name__: path for path in self.choose_layers(found)}

    def extract(self, x: Tensor, layer: str) -> Tensor:
        """Compute the feature h = f(x) at one layer, running nothing after it.

        Args:
            x: Inputs in the user's space, shape (batch, ...).
            layer: A name in :attr:`layers`.

        Returns:
            The layer's output, shape (batch, ...), differentiable with respect to ``x``. The network runs in the dtype
            of its weights; if that is not the dtype of ``x``, the feature is cast back.

        Raises:
            ReadoutError: if there is no such layer, or its output is not a tensor.

        Examples:
            >>> from torch import nn
            >>> extractor = FeatureExtractor(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), layers={"conv": "0"})
            >>> extractor.extract(torch.rand(2, 3, 16, 16), "conv").shape
            torch.Size([2, 8, 14, 14])
        """
        if self._layers is None:
            self.find_layers(x)
        if layer not in self.layers:
            raise ReadoutError(self.unknown(layer))
        prepared = self.preprocess(x)
        own = self.weights_type(prepared)
        feature = self.run_to(prepared.to(own), layer)
        return feature if own == prepared.dtype else feature.to(x.dtype)

    def preprocess(self, x: Tensor) -> Tensor:
        """Normalise inputs by channel mean and standard deviation, as the network expects them."""
        return (x - self.mean) / self.std

    def run_to(self, x: Tensor, layer: str, *more: Any) -> Tensor:
        """Run the network on preprocessed inputs and stop at ``layer``.

        Args:
            x: Output of :meth:`preprocess`.
            layer: A name in :attr:`layers`.
            more: Further positional arguments of the network.

        Raises:
            ReadoutError: if the layer's output is not a tensor, or the network never runs the layer.
        """
        module = self.network.get_submodule(self.layers[layer])
        hook = module.register_forward_hook(_stop)
        try:
            self.network(x, *more)
        except _Reached as reached:
            return self.feature(reached.output, layer)
        finally:
            hook.remove()
        raise ReadoutError(f"Layer {layer!r} of {self.name} never runs in evaluation mode; choose another.")

    def feature(self, output: Any, layer: str) -> Tensor:
        """Return the feature in a submodule's output: the tensor, or the first of a tuple or list.

        Override this to move the batch to the front.

        Raises:
            ReadoutError: if there is no such tensor.
        """
        if isinstance(output, tuple | list) and output:
            output = output[0]
        if not isinstance(output, Tensor):
            raise ReadoutError(
                f"Layer {layer!r} returns a {type(output).__name__}, not a tensor; name a submodule inside it that "
                "returns one, or override `feature`."
            )
        return output

    def resolve(self, names: str | Iterable[str]) -> list[str]:
        """Turn a user's choice of layers into layer names, in forward order and without duplicates.

        Args:
            names: Layer names, ``"all"``, or depths such as ``"depth:0.25,0.5"``, where 0 is the first layer and 1 the
                last.

        Raises:
            ReadoutError: if a name is unknown (near matches are listed) or a depth is outside [0, 1].

        Examples:
            >>> from torch import nn
            >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 3))
            >>> extractor = FeatureExtractor(network, layers={"early": "0", "middle": "1", "late": "2"})
            >>> extractor.resolve("depth:0,1")
            ['early', 'late']
            >>> extractor.resolve(["late", "middle"])
            ['middle', 'late']
        """
        known = list(self.layers)
        chosen: set[str] = set()
        for name in [names] if isinstance(names, str) else names:
            if name == "all":
                chosen.update(known)
            elif name.startswith("depth:"):
                chosen.update(self._at_depth(depth) for depth in name.removeprefix("depth:").split(","))
            elif name in self.layers:
                chosen.add(name)
            else:
                raise ReadoutError(self.unknown(name))
        if not chosen:
            raise ReadoutError("No layers were asked for; name some, or write 'all'.")
        return [name for name in known if name in chosen]

    @torch.no_grad()
    def shapes(self, example: Tensor) -> dict[str, tuple[int, ...]]:
        """Return the shape of every layer's feature, without the batch dimension; omit layers that never run.

        Raises:
            ReadoutError: if the network can't run on ``example``.

        Examples:
            >>> from torch import nn
            >>> extractor = FeatureExtractor(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()))
            >>> extractor.shapes(extractor.example(12))
            {'0': (8, 10, 10), '1': (800,)}
        """
        self.find_layers(example)
        named: dict[str, list[str]] = {}
        for name, path in self.layers.items():
            named.setdefault(path, []).append(name)

        def keep(output: Any, path: str) -> dict[str, tuple[int, ...]]:
            return {name: tuple(self.feature(output, name).shape[1:]) for name in named[path]}

        with self.explained_size(example):
            kept = first_outputs(self.network, named, keep, lambda: self.run(example))
        found = {name: shape for shapes in kept.values() for name, shape in shapes.items()}
        return {name: found[name] for name in self.layers if name in found}

    @contextlib.contextmanager
    def explained_size(self, x: Tensor) -> Iterator[None]:
        """Turn an exception of the network into a sentence that names the size of its inputs ``x``.

        Raises:
            ReadoutError: in place of any exception but running out of memory.
        """
        try:
            yield
        except (ReadoutError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # networks may raise anything
            size = " × ".join(map(str, x.shape[1:]))
            small = TOO_SMALL.search(str(error))
            advice = "try larger ones" if small else "check that the network accepts such inputs"
            raise ReadoutError(f"{self.name} can't be run on inputs of {size} ({reason(error)}); {advice}.") from error

    def example(self, size: int) -> Tensor:
        """Return a batch of one blank input for :meth:`shapes`: by default an RGB image of ``size`` × ``size``."""
        return torch.zeros(1, 3, check_side("size", size), size)

    @property
    def depths(self) -> list[str]:
        """Layers that ``depth:`` counts, from 0 at the first to 1 at the last; all layers unless overridden."""
        return list(self.layers)

    @property
    def name(self) -> str:
        """Name of the model in results and plots."""
        return type(self).__name__

    @property
    def weights_name(self) -> str:
        """Name of the weights in results and plots."""
        return str(getattr(self, "weights", "own"))

    def lay_out(self, device: torch.device) -> None:
        """Put the weights in the memory format that convolutions on ``device`` prefer; no value changes."""
        last = self.channels_last and device.type in ("cpu", "cuda")
        self.network.to(memory_format=torch.channels_last if last else torch.contiguous_format)

    def fingerprint(self) -> str:
        """Digest of the class, the architecture, every weight and the preprocessing.

        Raises:
            ReadoutError: if a weight has no value, or is NaN or infinite.
        """
        check_values(self.network)
        state = sorted(self.state_dict().items())
        broken = [key for key, value in state if value.is_floating_point() and not value.isfinite().all()]
        if broken:
            raise ReadoutError(
                f"{len(broken)} weights of {self.name} are NaN or infinite (the first is {broken[0]!r}); "
                "load an intact file."
            )
        return digest([qualified_name(type(self)), repr(self), self._identity(), tensor_digest(state)])

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, even when a trainer calls this."""
        return super().train(False)

    def weights_type(self, x: Tensor) -> torch.dtype:
        """Return the dtype to run inputs in: that of the weights, unless autocast chooses or ``x`` is not floating."""
        if not x.is_floating_point() or torch.is_autocast_enabled(x.device.type):
            return x.dtype
        return next((weight.dtype for weight in self.network.parameters() if weight.is_floating_point()), x.dtype)

    def run(self, x: Tensor) -> Any:
        """Run the whole network on inputs in the user's space, and return its output, such as logits."""
        prepared = self.preprocess(x)
        return self.network(prepared.to(self.weights_type(prepared)))

    def _identity(self) -> dict[str, str]:
        """Layers as the fingerprint covers them: independent of any input, even if found by running the network."""
        if self._declared is not None:
            return self._declared
        modules = self.network.named_modules()
        return {path: path for path, module in modules if path and not any(module.children())}

    def _at_depth(self, depth: str) -> str:
        if re.fullmatch(r"\s*(0(\.\d*)?|1(\.0*)?|\.\d+)\s*", depth) is None:
            raise ReadoutError(
                f"'depth:{depth}' is not a depth; write numbers from 0 to 1, such as 'depth:0.25' or 'depth:0.25,0.5'."
            )
        depths = self.depths
        return depths[int(float(depth) * (len(depths) - 1) + 0.5)]  # half up: `round` sends halves to even places

    @property
    def _import_name(self) -> str:
        """Name of this class on the command line."""
        ours = type(self).__module__.startswith("readout.")
        return type(self).__name__ if ours else qualified_name(type(self))

    def unknown(self, layer: str) -> str:
        """Return the error sentence for a layer that the network lacks, with near matches."""
        if fault := self._faults.get(layer):
            return f"Layer {layer!r} of {self.name} {fault}; choose another."
        return (
            f"{self.name} has no layer {layer!r}.{near_matches(layer, self.layers)} "
            f"List them with `python -m readout.cli layers --model {self._import_name}`."
        )


def _per_channel(name: str, values: Sequence[float], above: float | None = None) -> Tensor:
    """Shape values to broadcast against images; a single value broadcasts against anything."""
    checked = [float(check_number(name, value, above=above)) for value in check_list(name, values, "[0.5]")]
    return torch.tensor(checked[0]) if len(checked) == 1 else torch.tensor(checked).view(-1, 1, 1)


class _Reached(Exception):  # noqa: N818 (ends the forward pass; not an error)
    def __init__(self, output: Any) -> None:
        self.output = output


def _stop(_module: nn.Module, _args: Any, output: Any) -> None:
    raise _Reached(output)


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the known names closest to a wrong one; empty if none is close."""
    matches = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""
