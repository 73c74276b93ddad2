"""Rules for every extractor; a new class is one entry of :data:`EXTRACTORS`."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import open_clip
import pytest
import torch
from torch import Tensor, nn

from readout.codes import GaussianDictionary, Superposition
from readout.common.errors import ReadoutError
from readout.decoders.linear_map import fit_linear_map
from readout.encoding import EncodingModel
from readout.encoding.model import NAME, store
from readout.external.joined import JoinedLayers, JoinedTextLayers
from readout.extractors import (
    BERT,
    GPT2,
    OPT,
    SDXLVAE,
    VGG19,
    DigitNet,
    DINOv2,
    FeatureExtractor,
    LanguageModel,
    ONet,
    OpenCLIP,
    OrthonormalLinear,
    Patches,
    TimmModel,
    TorchvisionModel,
)
from readout.extractors.submodules import Submodules
from readout.measurement import PlainModule
from tests.extractors import test_dinov2, test_open_clip, test_sdxl_vae
from tests.tiny import TinyNet, concrete_classes
from tests.tiny_text import WIDTH, save_tiny


class Entry(NamedTuple):
    """A tiny extractor."""

    kind: type[FeatureExtractor]
    make: Callable[[Path, int], FeatureExtractor]
    """With random weights from a seed; the folder is for files."""
    shape: tuple[int, ...]
    """Shape of one input."""
    weights: str = "random (seed {})"
    """How the name of the weights ends."""


def plain(seed: int) -> nn.Module:
    return TinyNet(seed).network


def text(owner: type[LanguageModel], kind: str, folder: Path, seed: int) -> LanguageModel:
    return owner(save_tiny(folder, kind), pretrained=False, seed=seed)


def clip(name: str, folder: Path, seed: int) -> OpenCLIP:
    config = {"embed_dim": 16, "vision_cfg": test_open_clip.TOWERS[name], "text_cfg": test_open_clip.TEXT}
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return OpenCLIP(name, weights=None, seed=seed)


def dinov2(registers: bool, folder: Path, seed: int) -> DINOv2:
    return DINOv2(test_dinov2.save_tiny(folder, registers), False, seed)


def in_timm(name: str, folder: Path, seed: int) -> TimmModel:
    return TimmModel(name, weights=None, image_size=32 if "vit" in name else None, seed=seed)


def joined_text(folder: Path, seed: int) -> JoinedTextLayers:
    return JoinedTextLayers(text(LanguageModel, "llama", folder, seed), ["layer.0", "layer.2"])


def encoding(folder: Path, seed: int) -> EncodingModel:
    network, generator = TinyNet(seed), torch.Generator().manual_seed(seed)
    features = network.extract(torch.rand(8, 3, 16, 16, generator=generator), "middle").flatten(1)
    fitted = fit_linear_map(features, torch.randn(8, 5, generator=generator))
    store(fitted, folder / f"{seed}" / NAME, network, "middle")
    return EncodingModel(network, str(folder / f"{seed}"))


IMAGE, TOKENS = (3, 32, 32), (6, WIDTH)
EXTRACTORS = {
    "layers found": Entry(FeatureExtractor, lambda _, seed: FeatureExtractor(plain(seed)), IMAGE, "own"),
    "submodules": Entry(Submodules, lambda _, seed: Submodules(plain(seed)), IMAGE, "own"),
    "plain module": Entry(PlainModule, lambda _, seed: PlainModule(plain(seed)), IMAGE, "own"),
    "joined layers": Entry(
        JoinedLayers, lambda _, seed: JoinedLayers(TinyNet(seed), ["early", "middle"]), IMAGE, "own"
    ),
    "joined layers of texts": Entry(JoinedTextLayers, joined_text, TOKENS),
    "linear": Entry(OrthonormalLinear, lambda _, seed: OrthonormalLinear((3, 4, 4), 2, seed=seed), (3, 4, 4), "D/d=2"),
    "superposition": Entry(
        Superposition, lambda _, seed: Superposition(GaussianDictionary(12, 6, seed)), (12,), "N=12, M=6"
    ),
    "encoding model": Entry(EncodingModel, encoding, (3, 16, 16), "own"),
    "patches": Entry(Patches, lambda _, seed: Patches(4, 4 + seed), IMAGE, "whitened, 4 × 4"),
    "VGG19": Entry(VGG19, lambda _, seed: VGG19(None, seed), IMAGE),
    "digits": Entry(
        DigitNet,
        lambda folder, seed: DigitNet(32, 1, widths=(4, 4, 8), seed=seed, folder=folder),
        (1, 8, 8),
        "32 digits, 1 epochs (seed {})",
    ),
    "O-Net": Entry(ONet, lambda _, seed: ONet(None, seed), (3, 48, 48)),
    "torchvision": Entry(
        TorchvisionModel, lambda _, seed: TorchvisionModel("squeezenet1_1", None, seed=seed), (3, 64, 64)
    ),
    "timm": Entry(TimmModel, partial(in_timm, "test_vit"), IMAGE),
    "timm, residual": Entry(TimmModel, partial(in_timm, "test_resnet"), IMAGE),
    "timm, ConvNeXt": Entry(TimmModel, partial(in_timm, "test_convnext"), IMAGE),
    "timm, EfficientNet": Entry(TimmModel, partial(in_timm, "test_efficientnet"), IMAGE),
    "OpenCLIP": Entry(OpenCLIP, partial(clip, "tiny-ViT"), IMAGE),
    "OpenCLIP, residual": Entry(OpenCLIP, partial(clip, "tiny-RN"), (3, 64, 64)),
    "OpenCLIP, timm's": Entry(OpenCLIP, partial(clip, "tiny-timm-ViT"), (3, 160, 160)),
    "DINOv2": Entry(DINOv2, partial(dinov2, False), (3, 28, 28)),
    "DINOv2 with registers": Entry(DINOv2, partial(dinov2, True), (3, 28, 28)),
    "SDXL's autoencoder": Entry(
        SDXLVAE, lambda folder, seed: SDXLVAE(test_sdxl_vae.save_tiny(folder), False, seed), IMAGE
    ),
    "language model": Entry(LanguageModel, partial(text, LanguageModel, "llama"), TOKENS),
    "BERT": Entry(BERT, partial(text, BERT, "bert"), TOKENS),
    "GPT-2": Entry(GPT2, partial(text, GPT2, "gpt2"), TOKENS),
    "OPT": Entry(OPT, partial(text, OPT, "opt"), TOKENS),
    "OPT of 350 million": Entry(OPT, partial(text, OPT, "opt-350m"), (6, 16)),
}


@pytest.fixture(scope="module", params=EXTRACTORS)
def entry(request: pytest.FixtureRequest) -> Entry:
    return EXTRACTORS[request.param]


@pytest.fixture(scope="module")
def make(entry: Entry, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], FeatureExtractor]:
    return partial(entry.make, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def extractor(entry: Entry, make: Callable[[int], FeatureExtractor], x: Tensor) -> FeatureExtractor:
    made = make(0)
    assert type(made) is entry.kind
    made.find_layers(x)
    return made


@pytest.fixture(scope="module")
def x(entry: Entry) -> Tensor:
    return torch.rand(3, *entry.shape, generator=torch.Generator().manual_seed(0))


def some(extractor: FeatureExtractor) -> list[str]:
    """The first layer, one in the middle and the last."""
    layers = list(extractor.layers)
    return [*dict.fromkeys((layers[0], layers[len(layers) // 2], layers[-1]))]


def test_every_class_has_an_entry() -> None:
    assert {entry.kind for entry in EXTRACTORS.values()} == concrete_classes(FeatureExtractor)


def test_a_feature_has_one_row_per_input_and_comes_again(extractor: FeatureExtractor, x: Tensor) -> None:
    for layer in some(extractor):
        feature = extractor.train().extract(x, layer)
        assert (len(feature), feature.dtype) == (3, x.dtype)
        if not isinstance(extractor, JoinedLayers):  # whose network is not run as a whole
            assert tuple(feature.shape[1:]) == extractor.shapes(x[:1])[layer]
        assert not torch.allclose(feature[0], feature[1])
        assert torch.equal(extractor.extract(x, layer), feature)


def test_an_input_has_the_feature_it_has_alone(extractor: FeatureExtractor, x: Tensor) -> None:
    extractor, x = copy.deepcopy(extractor).double(), x.double()
    for layer in some(extractor):
        together = extractor.extract(x, layer)
        alone = torch.cat([extractor.extract(x[row : row + 1], layer) for row in range(3)])
        torch.testing.assert_close(alone, together, rtol=1e-7, atol=1e-9)


def test_gradients_reach_an_input_from_its_own_feature_and_no_weight(extractor: FeatureExtractor, x: Tensor) -> None:
    x = x.clone().requires_grad_()
    for layer in some(extractor):
        (gradient,) = torch.autograd.grad(extractor.train().extract(x, layer)[0].square().sum(), x)
        assert gradient[0].abs().sum() > 0
        assert not gradient[1:].any()
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    assert not any(module.training for module in extractor.modules())


def test_no_later_layer_ends(extractor: FeatureExtractor, x: Tensor) -> None:
    ended: set[str] = set()
    inner = extractor.network if isinstance(extractor, JoinedLayers) else extractor
    layers = list(inner.layers)
    for layer, path in inner.layers.items():
        inner.network.get_submodule(path).register_forward_hook(lambda *_, layer=layer: ended.add(layer))
    for layer in some(extractor):
        ended.clear()
        extractor.extract(x, layer)
        assert ended == {*layers[: layers.index(layer.split("+")[-1]) + 1]}


def test_layers_are_named_in_the_networks_order(extractor: FeatureExtractor) -> None:
    depths = extractor.depths
    assert set(extractor.resolve("all")) >= set(depths)
    assert extractor.resolve("depth:0,1") == [*dict.fromkeys((depths[0], depths[-1]))]
    names = some(extractor)
    assert extractor.resolve([*reversed(names), names[0]]) == names
    with pytest.raises(ReadoutError, match="'no such layer'"):
        extractor.resolve([names[0], "no such layer"])


def test_a_seed_decides_the_weights_and_the_fingerprint(
    entry: Entry, make: Callable[[int], FeatureExtractor], extractor: FeatureExtractor
) -> None:
    state, fingerprint = torch.get_rng_state(), extractor.fingerprint()
    again, other = make(0), make(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.fingerprint() == fingerprint != other.fingerprint()
    for seed, made in enumerate((extractor, other)):
        assert made.weights_name.endswith(entry.weights.format(seed))
    weight = next(again.parameters()).data.view(-1)
    weight[0] = torch.nextafter(weight[0], weight[0] + 1)
    assert again.fingerprint() != fingerprint


def test_laying_out_memory_changes_no_feature(extractor: FeatureExtractor, x: Tensor) -> None:
    laid_out = copy.deepcopy(extractor)
    laid_out.lay_out(torch.device("cpu"))
    assert laid_out.fingerprint() == extractor.fingerprint()
    layer = list(extractor.layers)[-1]
    torch.testing.assert_close(laid_out.extract(x, layer), extractor.extract(x, layer), rtol=1e-4, atol=1e-4)
