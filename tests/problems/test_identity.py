import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import AdamW

from readout.extractors import FeatureExtractor, OrthonormalLinear
from readout.metrics import SampleMetric
from readout.perturbations import GaussianPerturbation, Perturbation
from readout.priors import Pixels, Prior
from readout.problems import Setting
from readout.problems.identity import derive_seed, describe, digest, qualified_name, tensor_digest
from readout.readouts import FeatureInversion, FeatureLoss, ImageInversion, MeanSquaredError, Protocol
from tests.tiny import TinyNet, concrete_classes

KINDS = (FeatureExtractor, FeatureInversion, FeatureLoss, Perturbation, Prior, Protocol, SampleMetric)

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


class Knob:
    def __init__(self, turns: int = 1, label: str = "a") -> None:
        self.turns, self.label = turns, label


class Panel(nn.Module):
    def __init__(self, knob: Knob, sizes: Sequence[int] = (1, 2)) -> None:
        super().__init__()
        self.knob, self.sizes = knob, sizes


class PassesOn(Knob):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Forgetful:
    def __init__(self, turns: int) -> None:
        self.half = turns / 2


# Digests


def test_a_digest_is_the_sha256_of_sorted_json() -> None:
    value = {"b": [1, 2.5, None, True], "a": "ü"}
    text = '{"a":"\\u00fc","b":[1,2.5,null,true]}'
    assert digest(value) == hashlib.sha256(text.encode()).hexdigest()


@given(value=plain)
def test_digests_do_not_depend_on_the_order_of_keys(value: Any) -> None:
    assert digest({"x": value, "y": 1}) == digest({"y": 1, "x": value})


def told_apart(value: Any) -> str:
    """A text that tells apart whatever JSON tells apart."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{key!r}:{told_apart(inner)}" for key, inner in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(told_apart, value)) + "]"
    return repr(value)


@given(values=st.lists(plain, max_size=8, unique_by=told_apart))
def test_different_values_have_different_digests(values: list[Any]) -> None:
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
)
def test_tensors_of_every_type_have_a_stable_digest(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    assert tensor_digest([("x", tensor)]) == tensor_digest([("x", tensor.clone())])
    assert tensor_digest([("x", tensor)]) != tensor_digest([("x", 1 - tensor.to(torch.float32))])


def test_the_digest_of_a_tensor_does_not_depend_on_its_strides_or_gradient() -> None:
    tensor = torch.arange(12.0).view(3, 4)
    expected = tensor_digest([("x", tensor)])
    assert tensor_digest([("x", tensor.t().contiguous().t())]) == expected
    assert tensor_digest([("x", nn.Parameter(tensor))]) == expected


def test_any_change_of_a_tensor_changes_the_digest() -> None:
    x, y = torch.arange(4.0), torch.arange(4.0, 8.0)
    nudged = x.clone()
    nudged[1] = torch.nextafter(nudged[1], torch.tensor(2.0))
    variants: list[list[tuple[str, Tensor]]] = [
        [("x", x), ("y", y)],
        [("y", x), ("x", y)],
        [("y", y), ("x", x)],
        [("x", x)],
        [("x", nudged), ("y", y)],
        [("x", x.view(2, 2)), ("y", y)],
        [("x", x.double()), ("y", y)],
        [("x", x.view(torch.int32)), ("y", y)],
        [("x", -x), ("y", y)],
        [("x", torch.tensor(1.0))],
        [("x", torch.empty(0))],
        [],
    ]
    assert len({tensor_digest(variant) for variant in variants}) == len(variants)


# Seeds


def test_seeds_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert derive_seed("noise", 0, "abc") == int(hashlib.sha256(b'["noise",0,"abc"]').hexdigest()[:16], 16) // 2


@given(parts=st.lists(st.text() | st.integers(), max_size=4))
def test_seeds_fit_the_generators_of_torch(parts: list[str | int]) -> None:
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    torch.Generator().manual_seed(seed)


def test_seeds_depend_on_every_part_and_its_place() -> None:
    parts: list[tuple[str | int, ...]] = [("ab",), ("a", "b"), ("b", "a"), ("a", 1), ("a", "1"), (1, "a"), ("a",), ()]
    assert len({derive_seed(*part) for part in parts}) == len(parts)


# Settings


def test_the_settings_of_an_object_are_its_class_and_arguments() -> None:
    assert describe(Knob(3)) == {"class": qualified_name(Knob), "turns": 3, "label": "a"}
    assert describe(Panel(Knob())) == {
        "class": qualified_name(Panel),
        "knob": {"class": qualified_name(Knob), "turns": 1, "label": "a"},
        "sizes": [1, 2],
    }


def test_skipped_arguments_are_left_out_at_the_top_only() -> None:
    assert describe(Panel(Knob(), (1,)), skip=("sizes", "turns")) == {
        "class": qualified_name(Panel),
        "knob": describe(Knob()),
    }


def test_plain_data_are_their_own_settings() -> None:
    value = {"a": [1, 2.5, None, True, "b"], "c": {"d": []}}
    assert describe(value) == value
    assert describe((1, (2,))) == [1, [2]]
    assert describe(np.float64(0.5)) == 0.5
    assert describe(torch.float16) == "torch.float16"
    assert describe(torch.device("cpu")) == "cpu"
    assert describe(AdamW) == "torch.optim.adamw.AdamW"
    assert describe(nn.ModuleList([Panel(Knob())])) == [describe(Panel(Knob()))]


@pytest.mark.parametrize("skip", [(), ("other",)])
def test_an_argument_that_is_not_kept_is_an_error(skip: tuple[str, ...]) -> None:
    with pytest.raises(TypeError, match=r"Forgetful takes 'turns' but does not keep it as self\.turns"):
        describe(Forgetful(2), skip=skip)
    assert describe(Forgetful(2), skip=("turns",)) == {"class": qualified_name(Forgetful)}


def test_arguments_passed_on_through_kwargs_are_told_apart() -> None:
    assert describe(PassesOn(turns=1)) != describe(PassesOn(turns=2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Path("a.pth"), Path("b.pth")),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        (np.array([1.0]), np.array([2.0])),
        ({1}, {2}),
        (range(2), range(3)),
        (b"a", b"b"),
    ],
)
def test_values_are_told_apart_or_refused(one: object, other: object) -> None:
    try:
        described = [describe(value) for value in (one, other)]
    except TypeError:
        return
    assert described[0] != described[1]


# Names in keys

IN_KEYS = """
BERT DINOv2 DigitNet EncodingModel FeatureExtractor GPT2 JoinedLayers JoinedTextLayers LanguageModel ONet OPT OpenCLIP
OrthonormalLinear Patches PlainModule SDXLVAE Submodules Superposition TimmModel TorchvisionModel VGG19
CodeReadout FeatureInversion ImageInversion RefinedInversion TextInversion TokenSearch
MeanSquaredError MeanSquaredErrorAndCosine RelativeSquaredError SumOverLayers WhitenedError
ExternalFeatures GaussianPerturbation NearestLoss NormalPerturbation ResidualPerturbation
TangentPerturbation Toward UnitLoss
CosinePixels DeepImagePrior Pixels ShortlistLogits TokenLogits TokenSequence VAEDecoder VGGDecoder
DiscrepancyProtocol FastProtocol LastIteration PaperProtocol TokenByToken
CoordinateDescent FISTA ISTA LearnedEncoder MatchingPursuit OnePass OrthogonalMatchingPursuit Refined
CorrelationDistance DISTS EmbeddingCosine ExactMatch LPIPS PSNR SSIM SupportDistance TokenErrorRate ZeroOne
"""


def test_the_names_of_classes_in_keys_are_pinned() -> None:
    """Renaming a class orphans every result that has it in its key, so a name may be added here, never changed."""
    found = {each for kind in KINDS for each in concrete_classes(kind)}
    assert {qualified_name(each) for each in found} == {f"readout.{name}" for name in IN_KEYS.split()}
    assert len({each.__qualname__ for each in found}) == len(found)


def test_moving_a_class_of_the_package_keeps_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> tuple[str, str]:
        setting = Setting(TinyNet().fingerprint(), inversion.describe(3), describe(GaussianPerturbation()), 3, "32")
        return setting.digest, OrthonormalLinear().fingerprint()

    inversion = ImageInversion(TinyNet(), Pixels(), loss=MeanSquaredError())
    before = keys()
    for moved in (ImageInversion, Pixels, MeanSquaredError, GaussianPerturbation, OrthonormalLinear):
        monkeypatch.setattr(moved, "__module__", "readout.elsewhere.entirely")
    assert keys() == before


def test_a_users_class_goes_by_its_module() -> None:
    assert qualified_name(Knob) == "tests.problems.test_identity.Knob"
