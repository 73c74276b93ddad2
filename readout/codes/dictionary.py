"""Dictionaries: the atoms that features are sums of."""

import torch
from torch import Tensor, nn
from typing_extensions import Self

from readout.codes.encoders import Encoder
from readout.common.checks import check_number, check_seed, check_shape, check_whole
from readout.common.errors import ReadoutError
from readout.problems.identity import describe, digest, tensor_digest

LEAST_NORM = 1e-6
"""Norm below which an atom is no direction."""

ROUNDING = 1e-6
"""Distance of a norm from 1 that rounding makes."""


class Dictionary(nn.Module):
    """Atoms of unit norm, one per latent, of which features h ≈ mean + scale · D s are sums.

    Args:
        atoms: N vectors of M dimensions, shape (N, M); they are scaled to unit norm.
        mean: Mean of the features, shape (M,); None for 0.
        scale: Size of the features: what sums of atoms are multiplied by.
        encoder: What was learnt together with the atoms, to infer codes in one pass.

    Raises:
        ReadoutError: if the atoms are no matrix, or one is zero or not finite; if ``mean`` has another length, or
            ``scale`` is not above 0.

    Examples:
        >>> dictionary = Dictionary(torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
        >>> dictionary.decode(torch.tensor([[1.0, 2.0, 0.0]]))
        tensor([[1., 2.]])
        >>> round(dictionary.coherence(), 3)
        0.707
    """

    atoms: Tensor
    """Shape (N, M)."""
    mean: Tensor
    """Shape (M,)."""
    encoder: Encoder | None

    def __init__(
        self, atoms: Tensor, mean: Tensor | None = None, scale: float = 1.0, encoder: Encoder | None = None
    ) -> None:
        super().__init__()
        if atoms.ndim != 2:
            shape = " × ".join(map(str, atoms.shape))
            raise ReadoutError(f"A dictionary is {shape}; give a matrix with one atom per row.")
        norms = atoms.norm(dim=1, keepdim=True)
        bad = (~norms.isfinite() | (norms < LEAST_NORM)).flatten().nonzero().flatten().tolist()
        if bad:
            raise ReadoutError(
                f"{len(bad)} of {len(atoms)} atoms, such as number {bad[0]}, are zero or not finite; remove them."
            )
        # to divide by a norm of 1 but for rounding would change an atom each time that it is stored and loaded
        self.register_buffer("atoms", atoms.where((norms - 1).abs() < ROUNDING, atoms / norms))
        mean = atoms.new_zeros(atoms.shape[1]) if mean is None else mean
        if mean.shape != atoms.shape[1:]:
            raise ReadoutError(f"The mean has shape {tuple(mean.shape)}; give one value for each of {atoms.shape[1]}.")
        self.register_buffer("mean", mean, persistent=False)
        self.scale = check_number("scale", scale, above=0)
        self.encoder = encoder
        self.requires_grad_(False).eval()

    def __len__(self) -> int:
        return len(self.atoms)

    @property
    def dimensions(self) -> int:
        """M, the dimension of an atom."""
        return self.atoms.shape[1]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sums D s of atoms, shape (..., M).

        Args:
            codes: s, shape (..., N).
        """
        return codes @ self.atoms

    def standardise(self, feature: Tensor) -> Tensor:
        """Return (h − mean) / scale, which coders take, shape (..., M)."""
        return (feature - self.mean) / self.scale

    def restore(self, standardised: Tensor) -> Tensor:
        """Return the features of :meth:`decode`'s sums: the inverse of :meth:`standardise`, shape (..., M)."""
        return self.mean + self.scale * standardised

    def fingerprint(self) -> str:
        """Return a digest of atoms, mean, scale and encoder."""
        tensors = {**self.state_dict(), "mean": self.mean}
        return digest([describe(self.encoder), self.scale, tensor_digest(sorted(tensors.items()))])

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: an encoder that has been learnt uses its inference threshold."""
        return super().train(False)

    def coherence(self) -> float:
        """Return μ, the largest |cosine| between two atoms."""
        cosines = (self.atoms @ self.atoms.T).abs()
        return float(cosines.fill_diagonal_(0).max())


class GaussianDictionary(Dictionary):
    """Atoms of random direction, drawn from a Gaussian.

    Args:
        atoms: N, number of atoms.
        dimensions: M, dimension of each.
        seed: Seed of the atoms.

    Raises:
        ReadoutError: if a number is out of range, or they don't fit the memory.
    """

    def __init__(self, atoms: int, dimensions: int, seed: int = 0) -> None:
        check_shape("a dictionary", (atoms, dimensions))
        generator = torch.Generator().manual_seed(check_seed("seed", seed))
        super().__init__(torch.randn(atoms, dimensions, generator=generator))


class OrthonormalDictionary(Dictionary):
    """As many atoms as dimensions, orthogonal to each other: no superposition.

    Args:
        dimensions: M, and N.
        seed: Seed of the random rotation.

    Raises:
        ReadoutError: if a number is out of range, or they don't fit the memory.
    """

    def __init__(self, dimensions: int, seed: int = 0) -> None:
        check_shape("a dictionary", (dimensions, dimensions))
        generator = torch.Generator().manual_seed(check_seed("seed", seed))
        super().__init__(torch.linalg.qr(torch.randn(dimensions, dimensions, generator=generator))[0])


class SpikesAndSines(Dictionary):
    """The unit vectors and the Walsh functions, N = 2 M atoms of coherence 1 / √M.

    Whatever the signs, matching pursuits recover every support of fewer than (1 + √M) / 2 latents (Tropp, "Greed is
    good", 2004).

    Args:
        dimensions: M, a power of two.

    Raises:
        ReadoutError: if it is none, or they don't fit the memory.
    """

    def __init__(self, dimensions: int) -> None:
        check_whole("dimensions", dimensions, 2)
        if dimensions & (dimensions - 1):
            raise ReadoutError(f"dimensions is {dimensions}; give a power of two, such as 64.")
        check_shape("a dictionary", (2 * dimensions, dimensions))
        walsh = torch.ones(1, 1)
        while len(walsh) < dimensions:
            walsh = torch.cat([torch.cat([walsh, walsh], 1), torch.cat([walsh, -walsh], 1)])
        super().__init__(torch.cat([torch.eye(dimensions), walsh]))
