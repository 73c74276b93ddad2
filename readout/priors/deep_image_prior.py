"""The Deep Image Prior of Ulyanov et al. (2018), with one generator per problem."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from readout.common.checks import check_choice, check_list, check_number, check_whole
from readout.common.errors import ReadoutError
from readout.priors.base import Prior
from readout.priors.cuda import generate, has_kernels, kernels_pay
from readout.priors.unet import UNet


class DeepImagePrior(Prior):
    """Images g(z) from an untrained U-Net g and a latent z, both separate per problem.

    Args:
        optimize: ``"both"`` (latent and weights), ``"latent"`` or ``"weights"``.
        filters: Width of each scale of the U-Net, finest first.
        latent: Distribution of z: ``"uniform"`` on [0, 1] or ``"normal"``.
        dead_below: A run is dead if its image has a standard deviation below this in every channel.

    Raises:
        ReadoutError: if a choice is unknown, or a number is out of range.

    Examples:
        >>> prior = DeepImagePrior(filters=[8, 16])
        >>> prior.initialise(seeds=[0, 1], input_shape=torch.Size([3, 16, 16]))
        >>> prior().shape
        torch.Size([2, 3, 16, 16])
    """

    capturable = True

    def __init__(
        self,
        optimize: Literal["both", "latent", "weights"] = "both",
        filters: Sequence[int] = (16, 32, 64, 128, 256),
        latent: Literal["uniform", "normal"] = "uniform",
        dead_below: float = 1e-4,
    ) -> None:
        super().__init__()
        check_choice("optimize", optimize, ("both", "latent", "weights"))
        check_choice("latent", latent, ("uniform", "normal"))
        self.optimize = optimize
        self.filters = [
            check_whole("A width in filters", width, 1) for width in check_list("filters", filters, "[16, 32]")
        ]
        self.latent = latent
        self.dead_below = check_number("dead_below", dead_below, 0)

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :meth:`Prior.initialise`.

        Raises:
            ReadoutError: if inputs are not images, or are too small for the number of scales.
        """
        smallest = 2 ** len(self.filters)
        if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
            raise ReadoutError(
                f"A Deep Image Prior with {len(self.filters)} scales needs images of at least {smallest} pixels per "
                f"side, not {'×'.join(map(str, input_shape))}; use fewer filters or larger images."
            )
        networks, latents = zip(*(self._fresh(seed, input_shape) for seed in seeds), strict=True)
        self._names = [name for name, _ in networks[0].named_parameters()]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.stack(list(values)), requires_grad=self.optimize != "latent")
            for values in zip(*(network.parameters() for network in networks), strict=True)
        )
        self.latents = nn.Parameter(torch.stack(latents), requires_grad=self.optimize != "weights")
        # one network, called with each problem's weights; the tuple keeps its own out of this module's parameters
        self._network = (networks[0].to("meta"),)
        self._build_grouped(len(seeds))
        # decided once: as problems leave the batch, the others must not change their arithmetic
        self._kernels_pay = kernels_pay(len(seeds), math.prod(input_shape[1:]))

    def keep(self, rows: Tensor) -> bool:
        """See :meth:`Prior.keep`."""
        for parameter in (*self.weights, self.latents):
            parameter.data = parameter.data[rows]
        self._build_grouped(len(rows))
        return True

    def forward(self) -> Tensor:
        """See :meth:`Prior.forward`; values lie in (0, 1)."""
        # the fastest way on each device (docs/performance.md); vmap alone works with any network
        if type(self)._build is DeepImagePrior._build:
            kernels = has_kernels(self.latents)
            if kernels and (self.captured or self._kernels_pay):
                return self._forward_by_kernels()
            if kernels or self.latents.device.type == "cpu":
                return self._forward_grouped()
        return self.one_by_one()

    def lay_out(self, device: torch.device) -> None:
        """See :meth:`Prior.lay_out`; on a CPU, weights lie channels last, so that no step has to copy them."""
        for weight in self.weights:
            if weight.ndim == 5 and device.type == "cpu":
                kernels = weight.data.flatten(0, 1).contiguous(memory_format=torch.channels_last)
                weight.data = kernels.view(weight.shape)

    def one_by_one(self) -> Tensor:
        """Compute :meth:`forward` by ``vmap`` over problems, for any network on any device."""
        (network,) = self._network

        def generate(weights: dict[str, Tensor], latent: Tensor) -> Tensor:
            image: Tensor = functional_call(network, weights, (latent.unsqueeze(0),))
            return image.squeeze(0)

        images: Tensor = vmap(generate)(dict(zip(self._names, self.weights, strict=True)), self.latents)
        return images

    def _forward_grouped(self) -> Tensor:
        """Run all generators as one network of grouped convolutions, channels last."""
        (network,) = self._grouped
        weights = {name: weight.flatten(0, 1) for name, weight in zip(self._names, self.weights, strict=True)}
        latents = self.latents.flatten(0, 1).unsqueeze(0).contiguous(memory_format=torch.channels_last)
        images: Tensor = functional_call(network, weights, (latents,))
        return images.view(self.latents.shape)

    def _forward_by_kernels(self) -> Tensor:
        """Run all generators by the package's own CUDA kernels."""
        from readout.priors.cuda import kernels  # needs Triton

        with torch.cuda.device(self.latents.device):
            return generate(list(self.weights), self.latents, len(self.filters), kernels)

    def _build_grouped(self, count: int) -> None:
        """Build one grouped U-Net for all problems; its weights are passed in at each call."""
        with torch.device("meta"):
            self._grouped = (UNet(self.latents.shape[1], self.filters, copies=count),)

    def is_dead(self, recovered: Tensor) -> Tensor:
        """Find images of one constant colour: at high learning rates the ReLUs die and the gradient vanishes."""
        return recovered.flatten(2).std(dim=2).amax(dim=1) < self.dead_below

    def _fresh(self, seed: int, input_shape: torch.Size) -> tuple[nn.Module, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sample = torch.rand if self.latent == "uniform" else torch.randn
            return self._build(input_shape), sample(input_shape)

    def _build(self, input_shape: torch.Size) -> nn.Module:
        """Build one problem's generator; override to use another network."""
        return UNet(input_shape[0], self.filters)
