from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from readout.commands.fit import build
from readout.common.errors import ReadoutError
from readout.data import ImageFolder, InputData, PhaseScrambled, Photographs, PixelShuffled, Sample, load_samples
from readout.data.scrambled import scramble_phases
from readout.extractors import FeatureExtractor
from tests.helpers import tiny_config, write_config
from tests.tiny import TinyNet

KINDS = [PhaseScrambled, PixelShuffled]
SHAPES = [(3, 16, 16), (3, 15, 17), (3, 15, 16), (3, 16, 15), (1, 8, 4)]


class Given(InputData):
    """Inputs given by hand."""

    def __init__(self, *samples: Sample) -> None:
        super().__init__()
        self.samples: tuple[Sample, ...] = ()
        self.given = samples
        self.prepared = False

    def prepare_data(self) -> None:
        self.prepared = True

    def setup(self, stage: str) -> None:
        assert self.prepared
        assert stage == "fit"
        self.samples = self.given

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=seeded(seed))


def amplitudes(x: Tensor) -> Tensor:
    return torch.fft.fft2(x.double()).abs()


# Phases


@pytest.mark.parametrize("shape", SHAPES)
def test_scrambling_phases_keeps_amplitudes_and_mean_and_nothing_else(shape: tuple[int, ...]) -> None:
    x = image(*shape)
    scrambled = scramble_phases(x, seeded())
    assert scrambled.shape == x.shape
    assert scrambled.dtype == x.dtype
    torch.testing.assert_close(amplitudes(scrambled), amplitudes(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(scrambled.mean((1, 2)), x.mean((1, 2)), rtol=0, atol=1e-6)
    torch.testing.assert_close(scrambled.std((1, 2)), x.std((1, 2)), rtol=0, atol=1e-6)
    for channel, other in zip(scrambled, x, strict=True):
        assert torch.corrcoef(torch.stack([channel.flatten(), other.flatten()]))[0, 1].abs() < 0.5


def test_channels_share_their_phases() -> None:
    x = image(3, 16, 15)
    spectra = [torch.fft.fft2(y.double()) for y in (x, scramble_phases(x, seeded()))]
    shift = spectra[1] / spectra[0]
    for channel in (1, 2):
        torch.testing.assert_close(shift[channel], shift[0], rtol=0, atol=1e-4)
    # what one channel is of another stays
    grey = x[:1].repeat(3, 1, 1) * torch.tensor([1.0, 0.5, 0.2]).view(3, 1, 1)
    scrambled = scramble_phases(grey, seeded())
    torch.testing.assert_close(scrambled[1:], torch.stack([scrambled[0] / 2, scrambled[0] / 5]), rtol=0, atol=1e-6)


def test_phases_are_uniform_on_the_circle() -> None:
    impulse = torch.zeros(1, 64, 64)
    impulse[0, 0, 0] = 1
    phases = torch.fft.rfft2(scramble_phases(impulse, seeded()).double())[0, :, 1:32].angle().flatten()
    count = len(phases)
    share = (phases.sort().values + torch.pi) / (2 * torch.pi)
    # Kolmogorov's distance to the uniform distribution, at p = 10⁻⁴
    assert (share - (torch.arange(count) + 0.5) / count).abs().max() < 2.23 / count**0.5


def test_only_clipping_comes_after() -> None:
    source = Photographs(["coffee"], size=32)
    clipped = PhaseScrambled(source)[0].input
    assert clipped.min() == 0
    assert clipped.max() == 1
    inside = (clipped > 0) & (clipped < 1)
    assert inside.float().mean() > 0.7
    # of low contrast, nothing is clipped and the spectrum is whole
    x = 0.45 + 0.1 * image(3, 16, 16)
    torch.testing.assert_close(amplitudes(PhaseScrambled(given(x))[0].input), amplitudes(x), rtol=0, atol=1e-5)


# Pixels


@pytest.mark.parametrize("shape", SHAPES)
def test_shuffling_keeps_the_colours_and_moves_them(shape: tuple[int, ...]) -> None:
    x = image(*shape)
    shuffled = PixelShuffled(given(x))[0].input
    assert shuffled.shape == x.shape
    assert sorted(map(tuple, shuffled.flatten(1).T.tolist())) == sorted(map(tuple, x.flatten(1).T.tolist()))
    assert (shuffled != x).any(0).float().mean() > 0.8


# Both


def given(*images: Tensor) -> Given:
    data = Given(*(Sample(f"image_{index}", x, f"class_{index}") for index, x in enumerate(images)))
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_depends_on_its_name_and_the_seed_alone(kind: Any) -> None:
    x = image(3, 8, 8)
    both = [sample.input for sample in kind(given(x, x))]
    assert not torch.equal(both[0], both[1])
    reordered = Given(*reversed(given(x, x).samples))
    reordered.samples = reordered.given
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(kind(reordered)[1].input, both[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(kind(given(x), seed=1)[0].input, both[0])


@pytest.mark.parametrize("kind", KINDS)
def test_values_labels_and_names(kind: Any) -> None:
    samples = list(kind(given(image(3, 8, 8), image(3, 8, 8, seed=1))))
    assert [sample.label for sample in samples] == ["class_0", "class_1"]
    assert [sample.name for sample in samples] == [f"{kind.kind}/image_0", f"{kind.kind}/image_1"]
    assert all(0 <= sample.input.min() <= sample.input.max() <= 1 for sample in samples)


@pytest.mark.parametrize("kind", KINDS)
def test_the_source_is_prepared_and_set_up(kind: Any) -> None:
    assert len(load_samples(kind(Given(Sample("a", image(3, 8, 8)))), TinyNet())) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_source_is_left_alone(kind: Any) -> None:
    x = image(3, 8, 8)
    before = x.clone()
    kind(given(x))[0].input.zero_()
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4, 4)])
def test_what_is_no_image_is_one_sentence(kind: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ReadoutError, match=rf"{kind.__name__} takes images.*'image_0'.*choose a source of images"):
        kind(given(image(*shape)))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_past_the_end_is_an_index_error(kind: Any) -> None:
    with pytest.raises(IndexError):
        kind(Photographs(["coffee"]))[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_names_the_source(kind: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    (tmp_path / "images" / "n01").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "images" / "n01" / "a.png")
    folder = str(tmp_path / "images")
    source = {"class_path": "ImageFolder", "init_args": {"folder": folder, "size": 16}}
    config = tiny_config(tmp_path, data={"class_path": kind.__name__, "init_args": {"source": source, "seed": 3}})
    data = build(["--config", str(write_config(tmp_path / "config.yaml", config))]).datamodule
    assert type(data) is kind
    assert type(data.source) is ImageFolder
    (sample,) = data
    expected = kind(ImageFolder(folder, size=16), seed=3)[0]
    assert (sample.name, sample.label) == (f"{kind.kind}/n01/a.png", "n01") == (expected.name, expected.label)
    assert torch.equal(sample.input, expected.input)


def test_the_command_line_names_the_source(tmp_path: Path) -> None:
    config = str(write_config(tmp_path / "config.yaml", tiny_config(tmp_path)))
    arguments = ["--data", "PixelShuffled", "--data.source", "Photographs", "--data.source.names", "[china]"]
    data = build(["--config", config, *arguments, "--data.source.size", "16"]).datamodule
    assert [(sample.name, sample.input.shape) for sample in data] == [("pixel_shuffled/china", (3, 16, 16))]


@pytest.mark.parametrize("kind", [PhaseScrambled, PixelShuffled])
def test_the_network_is_handed_on_to_the_source(kind: Any) -> None:
    class Curious(Given):
        met: FeatureExtractor | None = None

        def prepare_for(self, extractor: FeatureExtractor) -> None:
            self.met = extractor

    source, network = Curious(Sample("a", image(3, 8, 8))), TinyNet()
    load_samples(kind(source), network)
    assert source.met is network
