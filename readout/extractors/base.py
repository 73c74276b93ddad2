"""FeatureExtractor: a frozen network whose layers have public names."""

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
"""Sides in pixels, in the order in which they are tried where a network takes images of an unknown size."""

TOO_SMALL = re.compile(
    r"Calculated padded input size per channel"  # convolutions
    r"|Output size is too small"  # pooling
    r"|Padding size should be less than the corresponding input dimension"  # reflection padding
    r"|array of sliding blocks .* must be at least one"  # unfold
    r"|non-zero size for non-batch dimensions"  # adaptive pooling of nothing
    r"|Expected more than 1 spatial element"  # instance norm
    r"|Input and output sizes should be greater than 0"  # interpolation
)
"""What torch says where an image has shrunk to nothing."""


class FeatureExtractor(nn.Module):
    """A frozen network, run only up to the layer asked for.

    A new model is its network and a map from layer names to submodules::

        class MyNet(FeatureExtractor):
            def __init__(self) -> None:
                network = load_my_network()
                super().__init__(network, layers={"early": "features.0", "late": "features.4"})

    Args:
        network: Takes a batch of inputs in the user's space (images: RGB in [0, 1], NCHW), or what
            :meth:`preprocess` makes of them.
        layers: Public layer name → path of the submodule whose output is the feature (empty for the network
            itself), in the order in which they run. Default: every innermost submodule that runs on the inputs and
            gives a feature of each, under its own path, in the order of a forward pass; see :meth:`find_layers`.
        mean: Per-channel mean that :meth:`preprocess` subtracts.
        std: Per-channel standard deviation that :meth:`preprocess` divides by.

    Raises:
        ReadoutError: if ``layers`` names a submodule that ``network`` does not have, or a lazy module has no weights
            yet.
    """

    mean: Tensor
    std: Tensor

    channels_last: ClassVar[bool] = False
    """Whether convolutions may keep channels last in memory, which is faster on CPUs and GPUs; the values are the same.
    A network that calls ``view`` on what a convolution gives can't have it."""

    capturable: ClassVar[bool] = False
    """Whether a GPU can take it into a graph: nothing in it waits for the device, or differs from step to step."""

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
        """Layer name → path of its submodule, in the order in which they run.

        Raises:
            ReadoutError: if they were not named, and the network can't be run to find them; see :meth:`find_layers`.
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
        """Whether layers were named; else they are found by running the network."""
        return self._declared is not None

    def find_layers(self, x: Tensor) -> None:
        """Run the network to find its layers and their order; do nothing where they were named.

        A layer is a submodule whose first run gives real numbers in one row per input, which depend on the input; and
        of those only the innermost. A submodule that never runs, runs on something else (such as a parametrised
        weight), or has windows or tokens for rows is none.

        Args:
            x: Inputs in the user's space, shape (batch, ...). Only their shape counts: the network is run on noise, so
                that the layers of two inputs are the same.

        Raises:
            ReadoutError: if the network can't be run on such inputs, or has no layer.
        """
        if not self.layers_named and x.shape[1:] != self._found_for:
            check_watchable(self.network)
            self._set_layers(self._watch(x), x.shape[1:])

    def find_size(self) -> int:
        """Find the layers with images of a size that the network takes.

        Returns:
            The side in pixels; the first of :data:`SIZES` where layers were named.

        Raises:
            ReadoutError: if it takes none of :data:`SIZES`, or has no layer.
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
            "name the layers, or override `example`."
        )

    def choose_layers(self, paths: Sequence[str]) -> list[str]:
        """Choose the layers among the submodules that can be: the innermost ones by default.

        Args:
            paths: Paths of the submodules, in the order in which they run.
        """
        return innermost(paths)

    def _watch(self, x: Tensor) -> dict[str, str]:
        noise = torch.rand(2, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(self.mean)
        with self.explained_size(noise):
            return find_faults(self.network, self.feature, self._run, noise)

    def _set_layers(self, faults: dict[str, str], shape: torch.Size) -> None:
        found = [path for path, fault in faults.items() if not fault]
        if not found:
            raise ReadoutError(
                f"{self.name} has no layer: its output {faults['']}; give a network whose submodules give tensors with "
                "one row per input."
            )
        self._faults, self._found_for = faults, shape
        self._layers = {path or type(self.network).__name__: path for path in self.choose_layers(found)}

    def extract(self, x: Tensor, layer: str) -> Tensor:
        """The feature h = f(x) of one layer; nothing after that layer runs.

        Args:
            x: Inputs in the user's space, shape (batch, ...).
            layer: A name out of :attr:`layers`.

        Returns:
            The layer's output, shape (batch, ...), differentiable with respect to ``x``. A network whose weights have
            another type than the inputs runs in its own; the feature then has the type of the inputs.

        Raises:
            ReadoutError: if there is no such layer, or it gives no tensor.
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
        """From the user's space to the network's: channel mean and standard deviation."""
        return (x - self.mean) / self.std

    def run_to(self, x: Tensor, layer: str, *more: Any) -> Tensor:
        """Run the network on preprocessed inputs and stop at ``layer``.

        Args:
            x: What :meth:`preprocess` gives.
            layer: A name out of :attr:`layers`.
            more: Further arguments of the network, where it takes any.

        Raises:
            ReadoutError: if the layer gives no tensor, or the network never runs it.
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
        """The feature in what a layer's submodule returns: a tensor, or the first of a tuple.

        Override it where a layout must change, so that the batch comes first.

        Raises:
            ReadoutError: if there is no such tensor.
        """
        if isinstance(output, tuple | list) and output:
            output = output[0]
        if not isinstance(output, Tensor):
            raise ReadoutError(
                f"Layer {layer!r} gives a {type(output).__name__}, not a tensor; name the submodule inside it that "
                "does, or override `feature`."
            )
        return output

    def resolve(self, names: str | Iterable[str]) -> list[str]:
        """Layer names from what a user may write, in the network's order, each once.

        Args:
            names: Names, ``"all"``, or ``"depth:0.25,0.5"`` and the like, where 0 is the first layer and 1 the last.

        Raises:
            ReadoutError: if a name is unknown (the near matches are listed) or a depth is outside [0, 1].
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
        """Shape of every layer's feature for one example of a batch; layers that never run are left out.

        Raises:
            ReadoutError: if the network does not take such inputs.
        """
        self.find_layers(example)
        named: dict[str, list[str]] = {}
        for name, path in self.layers.items():
            named.setdefault(path, []).append(name)

        def keep(output: Any, path: str) -> dict[str, tuple[int, ...]]:
            return {name: tuple(self.feature(output, name).shape[1:]) for name in named[path]}

        with self.explained_size(example):
            kept = first_outputs(self.network, named, keep, lambda: self._run(example))
        found = {name: shape for shapes in kept.values() for name, shape in shapes.items()}
        return {name: found[name] for name in self.layers if name in found}

    @contextlib.contextmanager
    def explained_size(self, x: Tensor) -> Iterator[None]:
        """Explain what goes wrong with inputs of a size that the network does not take.

        Args:
            x: The inputs.

        Raises:
            ReadoutError: if something does.
        """
        try:
            yield
        except (ReadoutError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # networks raise what they like
            size = " × ".join(map(str, x.shape[1:]))
            small = TOO_SMALL.search(str(error))
            advice = "try larger ones" if small else "check that the network takes such inputs"
            raise ReadoutError(f"{self.name} can't be run on inputs of {size} ({reason(error)}); {advice}.") from error

    def example(self, size: int) -> Tensor:
        """A batch of one blank input, for :meth:`shapes`; images of ``size`` pixels a side by default."""
        return torch.zeros(1, 3, check_side("size", size), size)

    @property
    def depths(self) -> list[str]:
        """The layers that ``depth:`` counts, the first at 0 and the last at 1; all of them unless overridden."""
        return list(self.layers)

    @property
    def name(self) -> str:
        """How results and plots call the model."""
        return type(self).__name__

    @property
    def weights_name(self) -> str:
        """How results and plots call its weights."""
        return str(getattr(self, "weights", "own"))

    def lay_out(self, device: torch.device) -> None:
        """Lay weights out in memory as the device's convolutions read them best; no value changes.

        Args:
            device: Where the network is about to run.
        """
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
        """Stay in evaluation mode, whatever a trainer asks for."""
        return super().train(False)

    def weights_type(self, x: Tensor) -> torch.dtype:
        """The floating-point type that inputs run in: that of the weights, unless autocast chooses it."""
        if not x.is_floating_point() or torch.is_autocast_enabled(x.device.type):
            return x.dtype
        return next((weight.dtype for weight in self.network.parameters() if weight.is_floating_point()), x.dtype)

    def _run(self, x: Tensor) -> Any:
        """Run the whole network on inputs in the user's space."""
        prepared = self.preprocess(x)
        return self.network(prepared.to(self.weights_type(prepared)))

    def _identity(self) -> dict[str, str]:
        """What the fingerprint covers of the layers; where they are found by running, it depends on no input."""
        if self._declared is not None:
            return self._declared
        modules = self.network.named_modules()
        return {path: path for path, module in modules if path and not any(module.children())}

    def _at_depth(self, depth: str) -> str:
        if re.fullmatch(r"\s*(0(\.\d*)?|1(\.0*)?|\.\d+)\s*", depth) is None:
            raise ReadoutError(
                f"'depth:{depth}' is not a depth; write for example 'depth:0.25' or 'depth:0.25,0.5', from 0 to 1."
            )
        depths = self.depths
        return depths[int(float(depth) * (len(depths) - 1) + 0.5)]

    @property
    def _import_name(self) -> str:
        """What a user writes to name this class."""
        ours = type(self).__module__.startswith("readout.")
        return type(self).__name__ if ours else qualified_name(type(self))

    def unknown(self, layer: str) -> str:
        """A sentence about a layer that the network does not have, with the near matches."""
        if fault := self._faults.get(layer):
            return f"Layer {layer!r} of {self.name} {fault}; choose another."
        return (
            f"{self.name} has no layer {layer!r}.{near_matches(layer, self.layers)} "
            f"`python -m readout.cli layers --model {self._import_name}` lists all of them."
        )


def _per_channel(name: str, given: Sequence[float], above: float | None = None) -> Tensor:
    """Broadcasts against images; one value against anything."""
    values = [check_number(name, value, above=above) for value in check_list(name, given, "[0.5]")]
    return torch.tensor(values[0]) if len(values) == 1 else torch.tensor(values).view(-1, 1, 1)


class _Reached(Exception):  # noqa: N818 (not an error: it ends the forward pass)
    def __init__(self, output: Any) -> None:
        self.output = output


def _stop(_module: nn.Module, _args: Any, output: Any) -> None:
    raise _Reached(output)


def near_matches(name: str, known: Iterable[str]) -> str:
    """A sentence that names what is nearest to a wrong name; empty if nothing is."""
    matches = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""
