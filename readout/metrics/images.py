"""Distances and similarities between images."""

from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError
from readout.metrics.base import SampleMetric

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window, in pixels."""


class SSIM(SampleMetric):
    """Structural similarity of images in [0, 1] (Wang et al., 2004); 1 for equal images.

    Examples:
        >>> import torch
        >>> image = torch.rand(1, 3, 16, 16)
        >>> SSIM().per_sample(image, image)
        tensor([1.])
    """

    name = "ssim"
    higher_is_better = True

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`.

        Raises:
            ReadoutError: if a side is shorter than 11 pixels, the width of SSIM's window.
        """
        if min(true.shape[-2:]) < SSIM_WINDOW:
            raise ReadoutError(
                f"SSIM needs images of at least {SSIM_WINDOW} × {SSIM_WINDOW} pixels, not "
                f"{' × '.join(map(str, true.shape[-2:]))}; use larger images, or remove SSIM from `metrics`."
            )
        values = structural_similarity_index_measure(recovered, true, data_range=1.0, reduction="none")
        assert isinstance(values, Tensor)
        return values.reshape(len(recovered))


class PSNR(SampleMetric):
    """Peak signal-to-noise ratio in dB of images in [0, 1].

    Examples:
        >>> import torch
        >>> image = torch.rand(1, 3, 8, 8)
        >>> PSNR().per_sample(image + 0.1, image).round(decimals=2)
        tensor([20.])
    """

    name = "psnr"
    higher_is_better = True

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`."""
        return peak_signal_noise_ratio(
            recovered, true, data_range=1.0, reduction="none", dim=tuple(range(1, recovered.ndim))
        )


class LPIPS(SampleMetric):
    """Learned perceptual distance (Zhang et al., 2018), with torchvision's weights for the backbone.

    Args:
        net: Backbone: ``"alex"``, ``"vgg"`` or ``"squeeze"``.

    Raises:
        ReadoutError: if ``net`` is none of these, or its weights can't be fetched.
    """

    name = "lpips"
    higher_is_better = False

    def __init__(self, net: str = "alex") -> None:
        super().__init__()
        from torchmetrics.functional.image.lpips import _NoTrainLpips

        check_choice("net", net, ("alex", "vgg", "squeeze"))
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
    """Turn a failure to fetch a metric's weights into a ``ReadoutError``."""

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError | ImportError | RuntimeError):
            raise ReadoutError(
                f"The weights of {self.metric} can't be fetched here ({type(error).__name__}); connect to the "
                f"network once, or remove {self.metric} from `metrics`."
            ) from error
