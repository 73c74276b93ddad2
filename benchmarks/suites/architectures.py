"""Tests of stock networks: every classifier of torchvision, and some of timm."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import readout
from benchmarks.options import Options
from benchmarks.table import Table
from readout.common.errors import ReadoutError, reason
from readout.extractors import FeatureExtractor, TimmModel, TorchvisionModel
from readout.extractors.validate import contrasting_pair, validate
from readout.measurement import PlainModule
from readout.priors import Pixels

TIMM = (
    "vgg11", "resnet18", "resnext50_32x4d", "seresnet50", "densenet121", "dla34", "hrnet_w18_small", "inception_v4",
    "xception41", "regnety_002", "repvgg_a0", "eca_nfnet_l0", "efficientnet_b0", "mobilenetv3_small_100",
    "ghostnet_050", "convnext_atto", "inception_next_tiny", "focalnet_tiny_srf", "mambaout_femto", "starnet_s1",
    "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "beit_base_patch16_224", "eva02_tiny_patch14_224",
    "cait_xxs24_224", "tnt_s_patch16_224", "xcit_nano_12_p16_224", "crossvit_9_240", "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256", "twins_pcpvt_small", "pvt_v2_b0", "davit_tiny", "hiera_tiny_224", "levit_128s",
    "efficientformer_l1", "mobilevit_xxs", "edgenext_xx_small", "fastvit_t8", "poolformer_s12",
    "maxvit_rmlp_pico_rw_256", "coatnet_pico_rw_224", "mixer_s32_224", "resmlp_12_224", "gmlp_s16_224",
)  # fmt: skip
"""A small network of each kind."""

QUICK = ("torchvision squeezenet1_1", "torchvision googlenet", "timm vit_tiny_patch16_224")

MEASURED = (
    "torchvision squeezenet1_1", "torchvision squeezenet1_0", "torchvision resnet18", "torchvision googlenet",
    "torchvision swin_v2_t", "torchvision vit_b_32", "torchvision efficientnet_b0", "torchvision shufflenet_v2_x0_5",
    "torchvision swin_t", "torchvision efficientnet_v2_s", "torchvision mobilenet_v3_small", "torchvision densenet121",
    "timm vit_tiny_patch16_224",
)  # fmt: skip
"""Networks to run through `measure` too, which takes most of the time: one per peculiarity."""

DEFAULTS = "depth:0,0.25,0.5,0.75,1"
"""Default layers of `measure`."""


def run(options: Options) -> Table:
    """Test layers, features against plain hooks and a few steps of inversion, with random weights."""
    table = Table("Stock networks")
    table.note(
        "Layers: the innermost, which `all` means. Features: of the five layers that `measure` takes when left alone, "
        "how many equal what hooks see in a whole forward pass, to the bit. Checks: how many of the five pass all "
        "checks of a layer. By name: of TimmModel's own layers. Measured: inversions of five layers at two levels that "
        "`measure` finished, from pixels in three steps."
    )
    for name in names():
        if not options.quick or name in QUICK:
            table.add(network=name, **_row(*name.split(" ")))
            print(table.rows[-1], flush=True)
    return table


def names() -> Iterator[str]:
    """Yield library and name of each network."""
    from torchvision import models

    yield from (f"torchvision {name}" for name in models.list_models(module=models))
    yield from (f"timm {name}" for name in TIMM)


def _row(library: str, name: str) -> dict[str, Any]:
    started = time.perf_counter()
    found: dict[str, Any] = {}
    try:
        extractor = TorchvisionModel(name, None) if library == "torchvision" else TimmModel(name, None)
        for column in _tried(extractor, f"{library} {name}" in MEASURED):
            found |= column
    except ReadoutError as error:
        found["fails"] = str(error)
    except Exception as error:
        found["fails"] = f"{type(error).__name__}: {reason(error)}"
    return {**found, "s": time.perf_counter() - started}


def _tried(extractor: FeatureExtractor, measured: bool) -> Iterator[dict[str, Any]]:
    """Yield one column after the other, so that columns before a failure are kept."""
    mean, std = (values.flatten().tolist() for values in (extractor.mean, extractor.std))
    plain = extractor if isinstance(extractor, TorchvisionModel) else PlainModule(extractor.network, mean, std)
    size = plain.find_size()
    yield {"pixels": size, "layers": len(plain.depths)}
    image = torch.from_numpy(np.random.default_rng(0).random((3, size, size), dtype=np.float32))
    yield {"features": _equal_to_hooks(plain, contrasting_pair(image))}
    yield {"checks": _passed(plain, plain.resolve(DEFAULTS), image)}
    if plain is not extractor:
        own = nn.functional.interpolate(image[None], extractor.example(size).shape[-2:])[0]
        yield {"by name": _passed(extractor, extractor.resolve("all"), own)}
    if measured:
        pixels = Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype("uint8"))
        found = readout.measure(
            extractor.network, [pixels], levels=[0, 0.5], steps=3, prior=Pixels(), lr=0.05, mean=mean, std=std,
            progress=False, trainer={"accelerator": "cpu"},
        )  # fmt: skip
        yield {"measured": f"{found.problems['distance'].notna().sum()} of {len(found.problems)}"}


def _passed(extractor: FeatureExtractor, layers: Sequence[str], image: Tensor) -> str:
    """Count the layers, all of which must pass the checks.

    Raises:
        ReadoutError: if a layer does not.
    """
    for layer in layers:
        validate(extractor, layer, contrasting_pair(image))
    return f"{len(layers)} of {len(layers)}"


@torch.no_grad()
def _equal_to_hooks(extractor: FeatureExtractor, x: Tensor) -> str:
    """Compare the features of the default layers with those of hooks in a full forward pass."""
    seen: dict[str, Tensor] = {}

    def keep(_module: nn.Module, _args: Any, output: Any, layer: str) -> None:
        seen.setdefault(layer, (output[0] if isinstance(output, tuple) else output).clone())

    layers = extractor.resolve(DEFAULTS)
    hooks = [
        extractor.network.get_submodule(layer).register_forward_hook(partial(keep, layer=layer)) for layer in layers
    ]
    extractor.network((x - extractor.mean) / extractor.std)
    for hook in hooks:
        hook.remove()
    equal = sum(torch.equal(extractor.extract(x, layer), seen[layer]) for layer in layers)
    ran = list(seen) == layers
    return f"{equal} of {len(layers)}" + ("" if ran else ", in another order")
