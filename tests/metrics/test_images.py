from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import skimage.metrics
import torch
from torch import Tensor
from torchmetrics.functional.image import (
    deep_image_structure_and_texture_similarity,
    learned_perceptual_image_patch_similarity,
)

from readout.common.errors import ReadoutError
from readout.metrics import DISTS, LPIPS, PSNR, SSIM, SampleMetric

SCIKIT_IMAGE: Any = skimage.metrics  # without types


def images(count: int = 5, side: int = 32) -> tuple[Tensor, Tensor]:
    """Pairs of images, the later ones farther apart."""
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(count, 3, side, side, generator=generator)
    noise = torch.rand(count, 3, side, side, generator=generator)
    share = torch.linspace(0.1, 0.9, count).view(-1, 1, 1, 1)
    return (1 - share) * true + share * noise, true


# Known values


def test_ssim_is_scikit_images() -> None:
    recovered, true = images()
    # scikit-image leaves a border of half a window out, torchmetrics mirrors the image there
    pairs = np.pad(torch.stack([recovered, true], 1).double().numpy(), [(0, 0)] * 3 + [(5, 5)] * 2, mode="reflect")
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [SCIKIT_IMAGE.structural_similarity(*pair, channel_axis=0, data_range=1.0, **gaussian) for pair in pairs]
    assert SSIM().per_sample(recovered, true).tolist() == pytest.approx(expected, abs=1e-5)
    assert SSIM().per_sample(true, true).tolist() == pytest.approx([1] * 5, abs=1e-6)


def test_psnr_is_scikit_images() -> None:
    recovered, true = images()
    expected = [
        SCIKIT_IMAGE.peak_signal_noise_ratio(b, a, data_range=1.0)
        for a, b in zip(recovered.numpy(), true.numpy(), strict=True)
    ]
    assert PSNR().per_sample(recovered, true).tolist() == pytest.approx(expected, abs=1e-4)


def test_a_difference_of_a_tenth_everywhere_is_20_decibels() -> None:
    assert PSNR().per_sample(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5)).item() == pytest.approx(20)


# Metrics with weights


def no_network(error: Exception) -> Callable[..., None]:
    def download(*_: object, **__: object) -> None:
        raise error

    return download


@pytest.mark.parametrize("error", [URLError("no route to host"), OSError("connection reset")])
@pytest.mark.parametrize("metric_class", [LPIPS, DISTS])
def test_weights_that_cannot_be_fetched_are_one_sentence(
    metric_class: Callable[[], SampleMetric], error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network(error))
    with pytest.raises(ReadoutError, match=r"weights of (LPIPS|DISTS) can't be fetched here") as raised:
        metric_class()
    assert "metrics" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is error


def test_a_backbone_that_there_is_not() -> None:
    with pytest.raises(ReadoutError, match="choose 'alex', 'vgg' or 'squeeze'"):
        LPIPS(net="resnet")


@pytest.mark.usefixtures("random_backbones")
def test_lpips_is_torchmetrics() -> None:
    recovered, true = images(3, 64)
    metric = LPIPS("squeeze")
    values = metric.per_sample(recovered, true)
    expected = learned_perceptual_image_patch_similarity(
        recovered, true, net_type="squeeze", reduction="none", normalize=True
    )
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(values, expected.detach().reshape(3))


@pytest.mark.usefixtures("random_backbones")
def test_dists_is_torchmetrics() -> None:
    recovered, true = images(2, 64)
    metric = DISTS()
    values = metric.per_sample(recovered, true)
    expected = deep_image_structure_and_texture_similarity(recovered, true, reduction="none")
    torch.testing.assert_close(values, expected.detach().reshape(2))
