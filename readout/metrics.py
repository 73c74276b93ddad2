"""Distances between inputs (d_X) and between features (d_H), as torchmetrics classes.

Every metric gives one value a sample through :meth:`SampleMetric.per_sample`, and the mean over
samples through the usual ``update`` and ``compute``.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from readout.errors import ReadoutError


def correlation_distance(x: Tensor, y: Tensor) -> Tensor:
    """1 − Pearson's r of each pair of rows, flattened: the paper's d_H, and its d_X for images.

    A constant row says nothing of the other, so its correlation counts as 0 and its distance as 1. Equal rows that
    are not constant have distance 0 to the bit.

    Args:
        x: Shape (samples, ...).
        y: The same shape.

    Returns:
        Distances in [0, 2], shape (samples,).
    """
    x, y = x.flatten(1), y.flatten(1)
    # compared, not computed: rounding would hide what is equal
    same = (x == y).all(1)
    constant = (x == x[:, :1]).all(1) | (y == y[:, :1]).all(1)
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    norms = x.norm(dim=1) * y.norm(dim=1)
    correlation: Tensor = (x * y).sum(1) / norms.clamp_min(torch.finfo(norms.dtype).tiny)
    return torch.clamp(1 - correlation, 0, 2).masked_fill(same, 0).masked_fill(constant, 1)


class SampleMetric(Metric, ABC):
    """A metric with one value a sample, averaged over samples.

    A subclass names its column and says whether larger is better; only a distance (smaller is better)
    can serve as d_X.
    """

    full_state_update = False
    name: ClassVar[str]
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    @abstractmethod
    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """One value a sample.

        Args:
            recovered: Recovered inputs, shape (samples, ...).
            true: True inputs, the same shape.

        Returns:
            Shape (samples,).
        """

    def update(self, recovered: Tensor, true: Tensor) -> None:
        """Add a batch of samples."""
        values = self.per_sample(recovered, true)
        self.total = self.total + values.sum()
        self.count = self.count + len(values)

    def compute(self) -> Tensor:
        """Mean over the samples seen."""
        return self.total / self.count


class CorrelationDistance(SampleMetric):
    """:func:`correlation_distance`; the paper's threshold for images is 0.1."""

    name = "correlation_distance"
    higher_is_better = False

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :func:`correlation_distance`."""
        return correlation_distance(recovered, true)


class SSIM(SampleMetric):
    """Structural similarity of images in [0, 1] (Wang et al., 2004); 1 for equal images."""

    name = "ssim"
    higher_is_better = True

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`; images must be at least 11 pixels a side."""
        values = structural_similarity_index_measure(recovered, true, data_range=1.0, reduction="none")
        assert isinstance(values, Tensor)
        return values.reshape(len(recovered))


class PSNR(SampleMetric):
    """Peak signal-to-noise ratio in dB of images in [0, 1]."""

    name = "psnr"
    higher_is_better = True

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`."""
        return peak_signal_noise_ratio(
            recovered, true, data_range=1.0, reduction="none", dim=tuple(range(1, recovered.ndim))
        )


class LPIPS(SampleMetric):
    """Learned perceptual distance (Zhang et al., 2018); its backbone's weights are torchvision's.

    Args:
        net: Backbone: ``"alex"``, ``"vgg"`` or ``"squeeze"``.

    Raises:
        ReadoutError: if the backbone's weights can't be fetched.
    """

    name = "lpips"
    higher_is_better = False

    def __init__(self, net: str = "alex") -> None:
        super().__init__()
        from torchmetrics.functional.image.lpips import _NoTrainLpips

        self.net = net
        with _fetching("LPIPS"):
            self.network = _NoTrainLpips(pretrained=True, net=net)  # type: ignore[arg-type]
        self.network.requires_grad_(False)

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`; images in [0, 1]."""
        values: Tensor = self.network(recovered, true, normalize=True)
        return values.reshape(len(recovered))


class DISTS(SampleMetric):
    """Deep image structure and texture distance (Ding et al., 2020); weights fetched by torchmetrics.

    Raises:
        ReadoutError: if its weights can't be fetched.
    """

    name = "dists"
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        from torchmetrics.functional.image.dists import DISTSNetwork

        with _fetching("DISTS"):
            self.network = DISTSNetwork(load_weights=True)
        self.network.requires_grad_(False)

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`; images in [0, 1]."""
        values: Tensor = self.network(recovered, true)
        return values.reshape(len(recovered))


class _fetching:  # noqa: N801 (reads as a statement)
    """Turn any failure to fetch a metric's weights into one sentence."""

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError | ImportError | RuntimeError):
            raise ReadoutError(
                f"The weights of {self.metric} can't be fetched here ({type(error).__name__}); connect to the "
                f"network once, or take {self.metric} off `metrics`."
            ) from error
