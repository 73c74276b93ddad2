"""Learning of dictionaries: planted ones are found, and every kind of encoder keeps what it promises."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import DictionaryLearning
from torch import Tensor, nn

from readout.codes import (
    BatchTopKEncoder,
    Dictionary,
    Encoder,
    GatedEncoder,
    GaussianDictionary,
    JumpReLUEncoder,
    LearnedEncoder,
    MLPEncoder,
    OnePass,
    PursuitEncoder,
    ReLUEncoder,
    SparseCodes,
    StoredDictionary,
    Superposition,
    TopKEncoder,
    UnrolledEncoder,
)
from readout.codes.encoders import ENCODERS
from readout.codes.sae_lens import RankedTopKEncoder
from readout.common.errors import ReadoutError
from readout.data import Photographs, Sample, UniformNoise
from readout.data.in_memory import ImagesInMemory
from readout.extractors import FeatureExtractor, Patches
from readout.learning import Activations, AlternatingLearner, DictionaryLearner, Learned, SparseAutoencoder, learn
from readout.learning.exemplars import exemplars
from readout.learning.latents import latents_table
from readout.metrics import DictionaryMCC, dictionary_mcc_chance
from readout.sweep.runtime import Runtime
from tests.helpers import CPU
from tests.tiny import TinyNet, concrete_classes

MAKE: dict[type[Encoder], Callable[[], Encoder]] = {
    ReLUEncoder: ReLUEncoder,
    TopKEncoder: lambda: TopKEncoder(3),
    BatchTopKEncoder: lambda: BatchTopKEncoder(3),
    JumpReLUEncoder: JumpReLUEncoder,
    GatedEncoder: GatedEncoder,
    MLPEncoder: lambda: MLPEncoder(64),
    PursuitEncoder: lambda: PursuitEncoder(3),
    UnrolledEncoder: UnrolledEncoder,
}
PLANTED = GaussianDictionary(16, 8)


def codes(count: int = 1000, **arguments: Any) -> Activations:
    data = SparseCodes(count, 3, seed=1)
    return Activations(Superposition(PLANTED), "superposition", data, standardise=False, **arguments)


def learnt(learner: DictionaryLearner, folder: Path, steps: int, data: Activations | None = None) -> Learned:
    return learn(learner, data or codes(), folder, Runtime({**CPU, "max_steps": steps}))


def mcc(found: Tensor) -> float:
    metric = DictionaryMCC()
    metric.update(PLANTED.atoms, found)
    return float(metric.compute())


def test_every_kind_of_encoder_is_here() -> None:
    # norms of rows come with a file, and are not learnt
    assert set(MAKE) == set(ENCODERS) == concrete_classes(Encoder) - {RankedTopKEncoder}


@pytest.mark.parametrize("kind", ENCODERS, ids=lambda kind: kind.__name__)
def test_what_is_stored_is_what_was_learnt(kind: type[Encoder], tmp_path: Path) -> None:
    learner = SparseAutoencoder(MAKE[kind](), latents=16, batch_size=128, lr=0.02)
    found = learnt(learner, tmp_path, 100)
    torch.testing.assert_close(found.dictionary.atoms.norm(dim=1), torch.ones(16))
    assert found.explained_variance > 0.6
    feature = learner.rows.standardised(learner.rows.held_out, slice(0, 20))
    coder = LearnedEncoder()
    coder.prepare_for(Superposition(found.dictionary))
    with torch.no_grad():
        live = learner.encoder.eval()(feature, learner.atoms.cpu())
    torch.testing.assert_close(coder.infer(feature, 1), live)
    assert (live >= 0).all()
    one_by_one = torch.cat([coder.infer(row.unsqueeze(0), 1) for row in feature])
    torch.testing.assert_close(one_by_one, live, rtol=1e-4, atol=1e-5)


def test_alternating_coding_finds_a_planted_dictionary_without_knowing_it(tmp_path: Path) -> None:
    found = learnt(AlternatingLearner(16, restarts=4), tmp_path, 150)
    assert mcc(found.dictionary.atoms) > 0.995 > dictionary_mcc_chance(PLANTED.atoms)
    assert found.dead == 0


def test_alternating_coding_is_as_good_as_another_library(tmp_path: Path) -> None:
    learner = AlternatingLearner(12, penalty_weight=0.1, restarts=4)
    learnt(learner, tmp_path, 150, codes(200))
    rows = learner.feature.double().numpy()
    other = DictionaryLearning(12, alpha=0.1, fit_algorithm="cd", transform_algorithm="lasso_cd", positive_code=True)
    other.set_params(transform_alpha=0.1, max_iter=150, random_state=0)
    inferred = other.fit_transform(rows)
    reached = ((inferred @ other.components_ - rows) ** 2).sum() / 2 + 0.1 * np.abs(inferred).sum()
    assert float(learner.objectives().min()) <= reached / len(rows) * 1.005


def test_rows_that_occur_twice_begin_one_atom_only(tmp_path: Path) -> None:
    class Repeated(SparseCodes):
        """Three codes, many times."""

        def __getitem__(self, index: int) -> Sample:
            return Sample(f"code_{index}", super().__getitem__(index % 3).input)

    data = Activations(Superposition(PLANTED), "superposition", Repeated(60, 3), standardise=False)
    learner = AlternatingLearner(8, restarts=1)
    learner.begin(data.load(tmp_path, torch.device("cpu")), 1)
    cosines = (learner.atoms[0] @ learner.atoms[0].T).fill_diagonal_(0)
    assert cosines.max() < 0.9999


def test_without_a_penalty_it_factorises_into_nonnegative_codes(tmp_path: Path) -> None:
    learner = AlternatingLearner(4, penalty_weight=0, start_weight=0.1, restarts=2)
    found = learnt(learner, tmp_path, 60)
    assert (learner.codes >= 0).all()
    assert 0.4 < found.explained_variance < 1  # 4 non-negative factors of 8 dimensions
    unexplained = 2 * float(learner.objectives().min()) / float(learner.feature.square().sum(1).mean())
    assert unexplained == pytest.approx(1 - found.explained_variance, abs=0.05)


def test_the_inference_threshold_of_a_batch_keeps_as_many_latents(tmp_path: Path) -> None:
    found = learnt(SparseAutoencoder(BatchTopKEncoder(3), latents=16, lr=0.02, batch_size=128), tmp_path, 200)
    assert found.active == pytest.approx(3, abs=0.3)


def test_thresholds_move_and_the_penalty_decides_how_many_latents_are_active(tmp_path: Path) -> None:
    active = {}
    for weight in (0.001, 0.3):
        learner = SparseAutoencoder(JumpReLUEncoder(), latents=16, penalty_weight=weight, lr=0.01)
        active[weight] = learnt(learner, tmp_path / str(weight), 200).active
        assert isinstance(learner.encoder, JumpReLUEncoder)
        assert float((learner.encoder.thresholds - 0.1).abs().mean()) > 0.01
    assert active[0.3] < 0.7 * active[0.001]


def test_dead_latents_are_resampled_if_asked(tmp_path: Path) -> None:
    class Deaf(ReLUEncoder):
        """Half of its latents begin far below 0."""

        def build(self, atoms: Tensor) -> None:
            super().build(atoms)
            self.bias.data[:8] = -1000

    dead = {}
    for every in (None, 50):
        learner = SparseAutoencoder(Deaf(), latents=16, resample_every=every, lr=0.01, batch_size=128)
        learner.begin(codes().load(tmp_path / str(every), torch.device("cpu")), 200)
        Runtime(CPU).make_bare_trainer(max_steps=200).fit(learner, range(200))
        feature = learner.rows.standardised(learner.rows.training, slice(0, 500))
        dead[every] = int(((learner.encoder(feature, learner.atoms) > 0).sum(0) == 0).sum())
        torch.testing.assert_close(learner.atoms.norm(dim=1), torch.ones(16))
    assert dead[None] == 8
    assert dead[50] == 0


def test_the_first_latents_of_a_matryoshka_explain_more(tmp_path: Path) -> None:
    explained = {}
    for prefixes in ((), (4,)):
        learner = SparseAutoencoder(TopKEncoder(3), latents=16, prefixes=prefixes, lr=0.02, batch_size=128)
        learnt(learner, tmp_path / str(len(prefixes)), 150)
        feature = learner.rows.standardised(learner.rows.held_out, slice(None))
        with torch.no_grad():
            found = learner.encoder.eval()(feature, learner.atoms)[:, :4] @ learner.atoms[:4]
        explained[prefixes] = 1 - float((found - feature).square().sum() / feature.square().sum())
    assert explained[4,] > explained[()] + 0.1


def test_an_encoder_for_a_given_dictionary_leaves_its_atoms_alone(tmp_path: Path) -> None:
    found = learnt(SparseAutoencoder(UnrolledEncoder(), dictionary=PLANTED), tmp_path, 20)
    assert torch.equal(found.dictionary.atoms, PLANTED.atoms)


def test_rows_are_positions_and_held_out_ones_are_of_other_inputs(tmp_path: Path) -> None:
    data = Activations(TinyNet(), "early", UniformNoise(10, (3, 8, 8)), rows=200, held_out=0.2)
    rows = data.load(tmp_path, torch.device("cpu"))
    assert rows.training.shape == (160, 8)
    assert rows.held_out.shape == (40, 8)
    features = data.extractor.extract(torch.stack([sample.input for sample in data.inputs]), "early")
    known = features.movedim(1, -1).reshape(10, 64, 8)
    owners = [int((known == torch.from_numpy(row.copy())).all(-1).any(1).nonzero()[0]) for row in rows.held_out]
    others = {int((known == torch.from_numpy(row.copy())).all(-1).any(1).nonzero()[0]) for row in rows.training}
    assert len(set(owners)) == 2
    assert not others & set(owners)
    standardised = rows.standardised(rows.training, slice(None))
    torch.testing.assert_close(standardised.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    assert float(standardised.square().mean()) == pytest.approx(1, abs=1e-4)
    (file,) = (tmp_path / "activations").iterdir()
    damaged = file.read_bytes()[:1000]
    file.unlink()  # what is mapped stays
    file.write_bytes(damaged)
    again = data.load(tmp_path, torch.device("cpu"))
    assert again.key == rows.key
    assert np.array_equal(again.training, rows.training)


def test_the_size_of_a_latent_has_a_closed_form_without_superposition() -> None:
    """A matched filter reads the latent plus noise: their correlation is √(v / (v + n σ²)), with v its variance."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([4.0, 1.0, 0.5, 0.0])
    feature = torch.randn(20_000, 4, generator=generator) * spread
    coder = OnePass(nonnegative=False)
    coder.prepare_for(Superposition(Dictionary(torch.eye(4))))
    table = latents_table(coder, feature, 1)
    ratio = spread[:3].square() / feature.var() * (0.9**-2 - 1)
    expected = 1 - 1 / (1 + ratio).sqrt()
    assert table["size"][:3].tolist() == pytest.approx(expected.tolist(), abs=0.015)
    assert table["dead"].tolist() == [False, False, False, True]
    assert table["magnitude"][:3].tolist() == pytest.approx((spread[:3] * (2 / torch.pi) ** 0.5).tolist(), rel=0.03)


def test_latents_are_shown_where_images_make_them_large(tmp_path: Path) -> None:
    """Features are the pixels and atoms the primary colours; each image has a red spot of its own strength."""
    network = nn.Conv2d(3, 3, 1, bias=False)
    network.weight.data = torch.eye(3).view(3, 3, 1, 1)
    pixels = FeatureExtractor(nn.Sequential(network), layers={"pixels": "0"})
    spots = {0.7: (4, 20), 0.8: (25, 9), 0.9: (16, 31)}
    images = {f"{red}": torch.full((3, 32, 32), 0.2) for red in spots}
    for red, (row, column) in spots.items():
        images[f"{red}"][0, row, column] = red
    data = Activations(pixels, "pixels", ImagesInMemory(images), held_out=0.6, standardise=False)
    data.load(tmp_path, torch.device("cpu"))
    parts = exemplars(data, Dictionary(torch.eye(3)), OnePass(), 1, [0])
    assert parts is not None
    assert parts.shape == (1, 2, 3, 8, 8)
    reds = sorted((round(float(image[0].max()), 1) for image in data.unseen.values()), reverse=True)
    for part, red in zip(parts[0], reds, strict=True):
        first = [min(max(0, place - 4), 24) for place in spots[red]]  # in the middle, as far as the image reaches
        row, column = (place - start for place, start in zip(spots[red], first, strict=True))
        assert float(part[0, row, column]) == pytest.approx(red)
    codes = Activations(Superposition(PLANTED), "superposition", SparseCodes(20, 3))
    codes.load(tmp_path, torch.device("cpu"))
    assert exemplars(codes, PLANTED, OnePass(), 1, [0]) is None


def test_patches_are_flat_in_frequency() -> None:
    photographs = torch.stack([sample.input for sample in Photographs(["astronaut", "china", "grass"], size=128)])
    patches = Patches(size=8, stride=1)
    grey = photographs.mean(1, keepdim=True)
    whitened = patches.network[0](grey)  # type: ignore[index]

    def tilt(images: Tensor) -> float:
        """Power at low frequencies over power at middle ones."""
        power = torch.fft.fft2(images - images.mean()).abs().square().mean((0, 1))
        radius = torch.fft.fftfreq(128).square().view(-1, 1).add(torch.fft.fftfreq(128).square()).sqrt()
        low, middle = (radius > 0.03) & (radius < 0.06), (radius > 0.15) & (radius < 0.2)
        return float(power[low].mean() / power[middle].mean())

    assert tilt(grey) > 10 > 3 > tilt(whitened)
    first = patches.extract(photographs, "patches")[0, :, 5, 7].view(8, 8)
    torch.testing.assert_close(first, whitened[0, 0, 5:13, 7:15])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: SparseAutoencoder(ReLUEncoder()), "Either model.latents"),
        (lambda _: SparseAutoencoder(ReLUEncoder(), latents=4, prefixes=[4]), "prefixes is 4; give a whole number"),
        (
            lambda folder: learnt(SparseAutoencoder(TopKEncoder(17), latents=16), folder, 2),
            "17 latents can't be active",
        ),
        (lambda folder: learnt(AlternatingLearner(4), folder, -1), "trainer.max_steps, the number of training steps"),
        (
            lambda folder: learnt(SparseAutoencoder(ReLUEncoder(), dictionary=GaussianDictionary(16, 9)), folder, 2),
            "atoms of 9 dimensions, but features have 8",
        ),
        (lambda folder: StoredDictionary(str(folder)), "There is no dictionary"),
        (lambda _: Activations(TinyNet(), "nowhere", UniformNoise()), "nowhere"),
        (lambda folder: learnt(AlternatingLearner(4), folder, 2, codes(1)), "has one input"),
    ],
)
def test_what_can_not_be_learnt_is_refused(make: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=said):
        make(tmp_path)


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = TinyNet()
    network.network[0].register_forward_hook(lambda *call: call[-1] * torch.nan)  # type: ignore[index]
    with pytest.raises(ReadoutError, match="not finite"):
        learnt(AlternatingLearner(4), tmp_path, 2, Activations(network, "early", UniformNoise(4, (3, 8, 8))))
