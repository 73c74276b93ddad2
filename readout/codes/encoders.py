"""Encoders: codes in one pass, by weights that are learnt together with a dictionary."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from readout.common.checks import check_number, check_whole
from readout.common.errors import ReadoutError


class Encoder(nn.Module, ABC):
    """The encoder of a sparse autoencoder; codes are never negative.

    A subclass creates its weights in :meth:`build` and implements :meth:`forward`.
    """

    @abstractmethod
    def build(self, atoms: Tensor) -> None:
        """Create the weights.

        Args:
            atoms: First atoms of the dictionary, shape (N, M), of unit norm.
        """

    @abstractmethod
    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """Return the codes, shape (rows, N).

        Args:
            feature: Standardised features, shape (rows, M).
            atoms: The dictionary, shape (N, M).
        """

    def penalty(self, feature: Tensor, codes: Tensor) -> Tensor:
        """Return how dense codes are, shape (rows,): by default ‖s‖₁."""
        return codes.sum(1)

    def auxiliary(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """Return a further loss, shape (rows,): by default 0."""
        return feature.new_zeros(len(feature))

    @torch.no_grad()
    def restart(self, latents: Tensor, atoms: Tensor) -> None:
        """Give latents the weights that :meth:`build` would, shape (latents,); by default, all stay as they are.

        Args:
            latents: Indices.
            atoms: The dictionary, in which they have new atoms.
        """


class ReLUEncoder(Encoder):
    """s = ReLU(W h + b), the encoder of the first sparse autoencoders."""

    weight: nn.Parameter
    bias: nn.Parameter

    def build(self, atoms: Tensor) -> None:
        """See :class:`Encoder`; W begins as the atoms."""
        self.weight = nn.Parameter(atoms.clone())
        self.bias = nn.Parameter(atoms.new_zeros(len(atoms)))

    def linear(self, feature: Tensor) -> Tensor:
        """Return W h + b, shape (rows, N)."""
        return feature @ self.weight.T + self.bias

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        return self.linear(feature).relu()

    @torch.no_grad()
    def restart(self, latents: Tensor, atoms: Tensor) -> None:
        """See :class:`Encoder`."""
        self.weight[latents] = atoms[latents]
        self.bias[latents] = 0


class FixedNumberEncoder(Encoder):
    """Base class of encoders whose codes have K active latents, so that nothing is penalised.

    Args:
        active: K.

    Raises:
        ReadoutError: if K is below 1.
    """

    def __init__(self, active: int) -> None:
        super().__init__()
        self.active = check_whole("active", active, 1)

    def build(self, atoms: Tensor) -> None:
        """See :class:`Encoder`.

        Raises:
            ReadoutError: if there are fewer atoms than K.
        """
        if self.active > len(atoms):
            raise ReadoutError(
                f"{self.active} latents can't be active among {len(atoms)} atoms; lower active, or learn more atoms."
            )
        super().build(atoms)  # type: ignore[safe-super]

    def penalty(self, feature: Tensor, codes: Tensor) -> Tensor:
        """Return 0."""
        return codes.new_zeros(len(codes))


class TopKEncoder(FixedNumberEncoder, ReLUEncoder):
    """The K largest latents of :class:`ReLUEncoder` (Makhzani & Frey, 2013; Gao et al., 2024).

    Args:
        active: K.

    Raises:
        ReadoutError: if K is below 1.
    """

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        codes = super().forward(feature, atoms)
        kept, places = codes.topk(self.active, dim=1)
        return torch.zeros_like(codes).scatter(1, places, kept)


class BatchTopKEncoder(TopKEncoder):
    """The largest latents of a batch, K per row on average (Bussmann et al., 2024), and all above a threshold later.

    While it learns, rows of a batch compete; afterwards each row is by itself: the threshold is the running mean of the
    smallest latent that was kept.

    Args:
        active: K.
    """

    threshold: Tensor

    def build(self, atoms: Tensor) -> None:
        """See :class:`Encoder`."""
        super().build(atoms)
        self.register_buffer("threshold", atoms.new_tensor(torch.nan))

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        codes = self.linear(feature).relu()
        if not self.training:
            return codes.where(codes >= self.threshold, 0)
        kept = codes.flatten().topk(min(self.active * len(codes), codes.numel())).values
        smallest = kept[-1].detach()
        self.threshold = smallest.where(self.threshold.isnan(), 0.99 * self.threshold + 0.01 * smallest)
        return codes.where(codes >= smallest, 0)


class JumpReLUEncoder(ReLUEncoder):
    """The latents of :class:`ReLUEncoder` above thresholds that are learnt (Rajamanoharan et al., 2024).

    The penalty is the number of active latents. Its derivative by a threshold is estimated from latents that are near
    it. Thresholds are parameters themselves, not their logarithms, which Adam hardly moves.

    Args:
        threshold: First threshold of all latents, in units of standardised features.
        bandwidth: Width of what counts as near.

    Raises:
        ReadoutError: if a number is not above 0.
    """

    thresholds: nn.Parameter

    def __init__(self, threshold: float = 0.1, bandwidth: float = 0.1) -> None:
        super().__init__()
        self.threshold = check_number("threshold", threshold, above=0)
        self.bandwidth = check_number("bandwidth", bandwidth, above=0)

    def build(self, atoms: Tensor) -> None:
        """See :class:`Encoder`."""
        super().build(atoms)
        self.thresholds = nn.Parameter(atoms.new_full((len(atoms),), self.threshold))

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        linear = self.linear(feature).relu()
        return linear * self._open(linear, self.thresholds)

    def penalty(self, feature: Tensor, codes: Tensor) -> Tensor:
        """Return the number of active latents."""
        return self._open(self.linear(feature).relu(), self.thresholds).sum(1)

    def _open(self, linear: Tensor, thresholds: Tensor) -> Tensor:
        """Return 1 where latents are above their thresholds, otherwise 0, with the estimated derivative."""
        opened = (linear > thresholds).to(linear)
        if not self.training:
            return opened  # exactly 1, which the sum below is not
        near = ((linear - thresholds).abs() < self.bandwidth / 2).to(linear) / self.bandwidth
        slope = -near.detach() * thresholds
        return opened + slope - slope.detach()


class GatedEncoder(ReLUEncoder):
    """One map says which latents are active, another one how large they are (Rajamanoharan et al., 2024).

    The penalty is on the first, and a second loss on what it explains by itself, so that sizes are not shrunk.
    """

    gain: nn.Parameter
    gate_bias: nn.Parameter

    def build(self, atoms: Tensor) -> None:
        """See :class:`Encoder`."""
        super().build(atoms)
        self.gain = nn.Parameter(atoms.new_zeros(len(atoms)))
        self.gate_bias = nn.Parameter(atoms.new_zeros(len(atoms)))

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        linear = feature @ self.weight.T
        return (linear + self.gate_bias > 0) * (self.gain.exp() * linear + self.bias).relu()

    def penalty(self, feature: Tensor, codes: Tensor) -> Tensor:
        """Return the sum of positive gates."""
        return self._gates(feature).sum(1)

    def auxiliary(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """Return half the squared error of gates as codes, of which the atoms do not learn."""
        return (self._gates(feature) @ atoms.detach() - feature).square().sum(1) / 2

    @torch.no_grad()
    def restart(self, latents: Tensor, atoms: Tensor) -> None:
        """See :class:`Encoder`."""
        super().restart(latents, atoms)
        self.gain[latents] = 0
        self.gate_bias[latents] = 0

    def _gates(self, feature: Tensor) -> Tensor:
        return (feature @ self.weight.T + self.gate_bias).relu()


class MLPEncoder(Encoder):
    """A perceptron with one hidden layer, whose output is rectified.

    Args:
        width: Hidden units.
        seed: Seed of the first weights.

    Raises:
        ReadoutError: if a number is out of range.
    """

    network: nn.Sequential

    def __init__(self, width: int = 256, seed: int = 0) -> None:
        super().__init__()
        self.width, self.seed = check_whole("width", width, 1), check_whole("seed", seed, 0)

    def build(self, atoms: Tensor) -> None:
        """See :class:`Encoder`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            layers = nn.Linear(atoms.shape[1], self.width), nn.ReLU(), nn.Linear(self.width, len(atoms)), nn.ReLU()
            self.network = nn.Sequential(*layers).to(atoms)

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        codes: Tensor = self.network(feature)
        return codes


class PursuitEncoder(FixedNumberEncoder):
    """Matching pursuit on the dictionary's own atoms: K atoms, each the nearest to what is left; no weights.

    Args:
        active: K.

    Raises:
        ReadoutError: if K is below 1.
    """

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        codes = feature.new_zeros(len(feature), len(atoms))
        for _ in range(self.active):
            found, nearest = ((feature - codes @ atoms) @ atoms.T).max(1, keepdim=True)
            codes = codes.scatter_add(1, nearest, found.relu())
        return codes


class UnrolledEncoder(Encoder):
    """LISTA (Gregor & LeCun, 2010): a few iterations of shrinkage, s ← ReLU(W h + S s − θ), whose weights are learnt.

    It begins as ISTA on the first atoms. W and S are shared by all iterations, and θ is not.

    Args:
        iterations: Number of iterations.
        penalty_weight: λ of the ISTA that it begins as.

    Raises:
        ReadoutError: if a number is out of range.
    """

    weight: nn.Parameter
    recurrent: nn.Parameter
    shifts: nn.Parameter

    def __init__(self, iterations: int = 8, penalty_weight: float = 0.1) -> None:
        super().__init__()
        self.iterations = check_whole("iterations", iterations, 1)
        self.penalty_weight = check_number("penalty_weight", penalty_weight, 0)

    def build(self, atoms: Tensor) -> None:
        """See :class:`Encoder`."""
        step = 1 / float(torch.linalg.matrix_norm(atoms, 2)) ** 2
        self.weight = nn.Parameter(step * atoms)
        self.recurrent = nn.Parameter(torch.eye(len(atoms)).to(atoms) - step * atoms @ atoms.T)
        self.shifts = nn.Parameter(atoms.new_full((self.iterations, len(atoms)), step * self.penalty_weight))

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        found = feature @ self.weight.T
        codes = (found - self.shifts[0]).relu()
        for shift in self.shifts[1:]:
            codes = (found + codes @ self.recurrent.T - shift).relu()
        return codes


ENCODERS: Sequence[type[Encoder]] = (
    ReLUEncoder,
    TopKEncoder,
    BatchTopKEncoder,
    JumpReLUEncoder,
    GatedEncoder,
    MLPEncoder,
    PursuitEncoder,
    UnrolledEncoder,
)
"""Kinds that a file can name."""
