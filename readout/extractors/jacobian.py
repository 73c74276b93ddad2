"""Jacobian of a feature at one input, by its products with vectors; the matrix is never formed."""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from readout.common.checks import check_whole
from readout.common.errors import ReadoutError, reason
from readout.extractors import FeatureExtractor


class Jacobian:
    """J = ∂f/∂x at one input, linearised once for any number of products.

    The network runs forward once, on a batch with one copy of the input per vector multiplied at a time. Jᵀw is a
    backward pass through that graph. Jᵀw is linear in w, so Jv is its derivative with respect to w: a backward pass
    through the backward pass. Neither product runs the network again.

    Args:
        extractor: The frozen network f.
        layer: A layer name of the extractor.
        x: One input in the user's space, shape (*input_shape).
        copies: Number of vectors multiplied at a time.

    Raises:
        ReadoutError: if the network can't be differentiated twice at ``x``, or its feature is not finite.

    Examples:
        >>> from readout.extractors import OrthonormalLinear
        >>> jacobian = Jacobian(OrthonormalLinear(input_shape=(3, 4, 4)), "linear", torch.rand(3, 4, 4))
        >>> v = torch.rand(1, 3, 4, 4)
        >>> torch.allclose(jacobian.transpose(jacobian.forward(v)), v, atol=1e-5)  # orthonormal columns: JᵀJ = I
        True
    """

    def __init__(self, extractor: FeatureExtractor, layer: str, x: Tensor, copies: int = 1) -> None:
        copies = check_whole("copies", copies, 1)
        self._inputs = x.detach().to(extractor.mean).expand(copies, *x.shape).clone().requires_grad_()
        # fused attention kernels can't be differentiated twice
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            self._features = extractor.extract(self._inputs, layer)
            if not self._features.isfinite().all():
                raise ReadoutError(
                    f"Layer {layer!r} gives values that are not finite for this input; check the weights and the input."
                )
            self._cotangents = torch.zeros_like(self._features, requires_grad=True)
            try:
                (self._pulled_back,) = torch.autograd.grad(
                    self._features, self._inputs, self._cotangents, create_graph=True
                )
                self.forward(torch.zeros_like(self._inputs))
            except RuntimeError as error:
                raise ReadoutError(
                    f"Layer {layer!r} can't be linearised ({reason(error)}); choose a layer that depends on the input "
                    "through operations that PyTorch can differentiate twice."
                ) from error

    @property
    def feature(self) -> Tensor:
        """Feature h = f(x), shape (*feature_shape)."""
        return self._features[0].detach()

    def forward(self, vectors: Tensor) -> Tensor:
        """Return Jv for each row v.

        Args:
            vectors: Shape (copies, *input_shape).

        Returns:
            Shape (copies, *feature_shape).
        """
        (product,) = torch.autograd.grad(self._pulled_back, self._cotangents, vectors, retain_graph=True)
        return product

    def transpose(self, vectors: Tensor) -> Tensor:
        """Return Jᵀw for each row w.

        Args:
            vectors: Shape (copies, *feature_shape).

        Returns:
            Shape (copies, *input_shape).
        """
        (product,) = torch.autograd.grad(self._features, self._inputs, vectors, retain_graph=True)
        return product
