"""FeatureExtractor: a frozen network whose layers have public names."""

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from readout.checks import check_list, check_number
from readout.errors import ReadoutError, reason
from readout.identity import digest, qualified_name, tensor_digest


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
            itself), in the order in which they run. Default: every leaf module under its own path.
        mean: Per-channel mean that :meth:`preprocess` subtracts.
        std: Per-channel standard deviation that :meth:`preprocess` divides by.

    Raises:
        ReadoutError: if ``layers`` names a submodule that ``network`` does not have.
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
        if layers is None:
            layers = {path: path for path, module in modules.items() if path and not any(module.children())}
        for name, path in layers.items():
            if path not in modules:
                raise ReadoutError(
                    f"Layer {name!r} of {type(self).__name__} points at {path!r}, which the network does not "
                    f"have.{near_matches(path, modules)}"
                )
        self.network = network
        self.layers = dict(layers)
        self.register_buffer("mean", _per_channel("mean", mean))
        self.register_buffer("std", _per_channel("std", std, above=0))
        self.requires_grad_(False)
        self.eval()

    def extract(self, x: Tensor, layer: str) -> Tensor:
        """The feature h = f(x) of one layer; nothing after that layer runs.

        Args:
            x: Inputs in the user's space, shape (batch, ...).
            layer: A name out of :attr:`layers`.

        Returns:
            The layer's output, shape (batch, ...), differentiable with respect to ``x``.

        Raises:
            ReadoutError: if there is no such layer, or it gives no tensor.
        """
        if layer not in self.layers:
            raise ReadoutError(self.unknown(layer))
        return self.run_to(self.preprocess(x), layer)

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
        raise ReadoutError(f"Layer {layer!r} was never reached when {type(self).__name__} ran; drop it.")

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
        """Shape of every layer's feature for one example of a batch, from a single forward pass.

        Raises:
            ReadoutError: if the network does not take such inputs.
        """
        found: dict[str, tuple[int, ...]] = {}
        hooks = []
        for name, path in self.layers.items():

            def keep(_module: nn.Module, _args: Any, output: Any, name: str = name) -> None:
                found[name] = tuple(self.feature(output, name).shape[1:])

            hooks.append(self.network.get_submodule(path).register_forward_hook(keep))
        try:
            with self.explained_size(example):
                self.network(self.preprocess(example))
        finally:
            for hook in hooks:
                hook.remove()
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
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            size = " × ".join(map(str, x.shape[1:]))
            raise ReadoutError(
                f"{self.name} can't be run on inputs of {size} ({reason(error)}); try larger ones."
            ) from error

    def example(self, size: int) -> Tensor:
        """A batch of one blank input, for :meth:`shapes`; images of ``size`` pixels a side by default."""
        return torch.zeros(1, 3, size, size)

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
            ReadoutError: if a weight is NaN or infinite.
        """
        state = sorted(self.state_dict().items())
        broken = [key for key, value in state if value.is_floating_point() and not value.isfinite().all()]
        if broken:
            raise ReadoutError(
                f"{len(broken)} weights of {self.name} are NaN or infinite (the first is {broken[0]!r}); "
                "load an intact file."
            )
        return digest([qualified_name(type(self)), repr(self), self.layers, tensor_digest(state)])

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever a trainer asks for."""
        return super().train(False)

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
