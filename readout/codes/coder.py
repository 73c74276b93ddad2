"""The base class of coders: readouts of sparse codes, one iteration of all problems at a time."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from readout.codes.superposition import Superposition
from readout.common.checks import check_whole
from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.priors import Prior


class Coder(Prior):
    """An algorithm that infers codes s from features h' ≈ D s, where few latents are active.

    It is the prior of :class:`readout.readouts.CodeReadout`: its parameters are codes, and an iteration takes the place
    of an optimiser's step. A subclass implements :meth:`iterate`, and :meth:`steps` if it ends by itself.

    Args:
        active: K, number of latents to keep at the end, the largest, whose magnitudes are then fitted by least squares;
            None keeps the codes as they are.
        nonnegative: Whether latents can't be negative, which must be true of the codes.

    Raises:
        ReadoutError: if ``active`` is below 1.
    """

    atoms: Tensor
    """Shape (N, M)."""
    codes: Tensor
    """Shape (problems, N)."""
    feature: Tensor
    """h', shape (problems, M)."""

    one_pass: bool = False
    """Whether codes follow in one pass, so that the readout is amortised."""

    def __init__(self, active: int | None = None, nonnegative: bool = True) -> None:
        super().__init__()
        self.active = None if active is None else check_whole("active", active, 1)
        self.nonnegative = nonnegative

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Take the atoms.

        Raises:
            ReadoutError: if the network has no dictionary, or fewer dimensions than latents to keep.
        """
        if not isinstance(extractor, Superposition):
            raise ReadoutError(f"{extractor.name} has no dictionary to read codes by; use a Superposition.")
        atoms = extractor.dictionary.atoms
        most = min(atoms.shape)
        if self.active is not None and self.active > most:
            raise ReadoutError(
                f"{self.active} latents can't be fitted to features of {atoms.shape[1]} dimensions with {len(atoms)} "
                f"atoms; set active to at most {most}."
            )
        self.register_buffer("atoms", atoms.clone(), persistent=False)

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :class:`Prior`; all latents are 0, and nothing is random."""
        self.register_buffer("codes", self.atoms.new_zeros(len(seeds), *input_shape), persistent=False)
        self.feature = self.atoms.new_zeros(len(seeds), self.atoms.shape[1])

    def aim(self, feature: Tensor) -> None:
        """Set the features h' to explain, shape (problems, M)."""
        self.feature = feature.to(self.atoms)

    def check(self, feature: Tensor) -> None:
        """Check that codes can be inferred from features like this one, shape (1, M); by default nothing.

        Raises:
            ReadoutError: if not.
        """

    @abstractmethod
    def iterate(self) -> None:
        """Improve :attr:`codes` by one iteration, each problem by itself."""

    def steps(self, most: int) -> int:
        """Return the number of iterations; by default as many as there may be.

        Args:
            most: ``trainer.max_steps``.
        """
        return most

    @torch.no_grad()
    def infer(self, feature: Tensor, steps: int) -> Tensor:
        """Return the codes of features, outside a sweep; call :meth:`prepare_for` first.

        Args:
            feature: h', shape (rows, M).
            steps: Most iterations.

        Returns:
            Shape (rows, N).

        Raises:
            ReadoutError: if features have other dimensions than the atoms.
        """
        if feature.ndim != 2 or feature.shape[1] != self.atoms.shape[1]:
            raise ReadoutError(
                f"Features are {' × '.join(map(str, feature.shape))}, but atoms have {self.atoms.shape[1]} dimensions; "
                "give one row per feature."
            )
        self.initialise(range(len(feature)), self.atoms.shape[:1])
        self.aim(feature)
        for _ in range(self.steps(steps)):
            self.iterate()
        return self.read_out(self())

    def forward(self) -> Tensor:
        """Return the codes, shape (problems, N)."""
        return self.codes

    def read_out(self, inputs: Tensor) -> Tensor:
        """Keep the largest latents and fit their magnitudes; see ``active``."""
        return inputs if self.active is None else self.refit(self._sizes(inputs).topk(self.active, dim=1).indices)

    def refit(self, support: Tensor) -> Tensor:
        """Return the codes with these active latents whose sums of atoms are nearest to h'.

        Args:
            support: Different latents of each problem, shape (problems, K).

        Returns:
            Shape (problems, N); negative latents become 0 where they can't be.
        """
        chosen = self.atoms[support]
        gram = chosen @ chosen.mT
        ridge = torch.finfo(gram.dtype).eps * torch.eye(support.shape[1], device=gram.device, dtype=gram.dtype)
        fitted = torch.linalg.solve(gram + ridge, chosen @ self.feature.unsqueeze(2)).squeeze(2)
        if self.nonnegative:
            fitted = fitted.clamp_min(0)
        return torch.zeros_like(self.codes).scatter(1, support, fitted)

    def _sizes(self, values: Tensor) -> Tensor:
        """Return what makes one latent larger than another."""
        return values if self.nonnegative else values.abs()
