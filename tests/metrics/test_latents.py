"""Known answers of the metrics of latents and dictionaries, and rules that all of them keep."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from readout.codes import Dictionary, GaussianDictionary, OrthonormalDictionary
from readout.common.errors import ReadoutError
from readout.metrics import (
    CKA,
    DCI,
    FVU,
    L0,
    MIG,
    PWMCC,
    RSA,
    CodeMCC,
    DatasetMetric,
    DeadLatents,
    DictionaryMCC,
    LinearR2,
    LossRecovered,
    MachineInterpretability,
    Monosemanticity,
    OneToOne,
    Procrustes,
    absorption,
    dictionary_mcc_chance,
    feature_dimensionality,
    k_sparse_probe,
    mcc_chance,
)
from tests.tiny import concrete_classes


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sparse(samples: int, latents: int, active: int, seed: int = 0) -> Tensor:
    """Codes with half-normal active latents in random places."""
    places = torch.rand(samples, latents, generator=torch.Generator().manual_seed(seed)).argsort(1)[:, :active]
    return torch.zeros(samples, latents).scatter_(1, places, normal(samples, active, seed=seed + 1).abs())


def independent(latents: int, copies: int = 1) -> Tensor:
    """Each set of active latents as often as any other, behind one latent that is always active."""
    sets = (torch.arange(2**latents).unsqueeze(1) >> torch.arange(latents)) & 1
    return torch.cat([torch.ones(2**latents, 1), sets], 1).repeat(copies, 1)


def score(metric: DatasetMetric, *tables: Tensor) -> Any:
    metric.update(*tables)
    return metric.compute()


CODES, OTHERS = sparse(60, 6, 2), sparse(60, 5, 2, seed=5) + 0.1


class Entry(NamedTuple):
    """A metric and a batch of it."""

    make: Callable[[], DatasetMetric]
    tables: tuple[Tensor, ...]


METRICS = {
    entry.make.__name__: entry
    for entry in (
        Entry(CodeMCC, (CODES, OTHERS)),
        Entry(LinearR2, (OTHERS, CODES)),
        Entry(L0, (CODES,)),
        Entry(DeadLatents, (CODES.where(torch.arange(6) > 1, 0),)),
        Entry(FVU, (CODES, CODES.roll(1, 0))),
        Entry(LossRecovered, tuple(torch.rand(3, 60, generator=torch.Generator().manual_seed(0)))),
        Entry(DCI, (CODES, OTHERS)),
        Entry(MIG, (CODES, OTHERS)),
        Entry(Monosemanticity, (CODES, normal(60, 4))),
        Entry(MachineInterpretability, (CODES, normal(60, 4))),
        *(Entry(measure, (CODES, OTHERS)) for measure in (CKA, RSA, Procrustes, OneToOne)),
    )
}
of_samples = pytest.mark.parametrize("entry", METRICS.values(), ids=METRICS)


def test_every_class_has_an_entry() -> None:
    assert {entry.make for entry in METRICS.values()} | {DictionaryMCC, PWMCC} == concrete_classes(DatasetMetric)


@of_samples
def test_batches_do_not_matter_and_reset_forgets(entry: Entry) -> None:
    metric = entry.make()
    metric.update(*(table.flip(0) * 2 for table in entry.tables))
    metric.reset()
    for part in (slice(0, 7), slice(7, 60)):
        metric.update(*(table[part] for table in entry.tables))
    torch.testing.assert_close(metric.compute(), score(entry.make(), *entry.tables))


@of_samples
def test_bad_tables_are_refused_in_a_sentence(entry: Entry) -> None:
    metric = entry.make()
    metric.update(*entry.tables)
    spoilt = entry.tables[-1].clone()
    spoilt[3] = torch.nan
    with pytest.raises(ReadoutError, match=r"NaN or infinite; leave out those samples\.$"):
        metric.update(*entry.tables[:-1], spoilt)
    if len(entry.tables) > 1:
        with pytest.raises(ReadoutError, match=r"for the same samples\.$"):
            metric.update(*entry.tables[:-1], entry.tables[-1][1:])
    if entry.make is not LossRecovered:
        with pytest.raises(ReadoutError, match=r"give a matrix with one row per sample\.$"):
            metric.update(*entry.tables[:-1], entry.tables[-1][0])
    if entry.make not in (LossRecovered, L0):
        with pytest.raises(ReadoutError, match=r"call reset before other data\.$"):
            metric.update(*(table[:, 1:] for table in entry.tables))


def test_nothing_to_score_is_said() -> None:
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(ReadoutError, match="LinearR2 has nothing to score; call update first"),
    ):
        LinearR2().compute()


class TestMatching:
    def test_order_sign_and_scale_of_found_codes_do_not_matter(self) -> None:
        order = torch.tensor([2, 0, 3, 1])
        true = sparse(200, 4, 2)
        metric = CodeMCC()
        assert score(metric, true, 1e3 + true[:, order] * torch.tensor([-1.0, 2.0, 0.1, 1.0])) == pytest.approx(1)
        assert metric.matching().tolist() == order.argsort().tolist()

    def test_missing_and_dead_latents_count_as_0(self) -> None:
        true = sparse(200, 4, 2)
        assert score(CodeMCC(), true, true[:, :3]) == pytest.approx(0.75)
        metric = CodeMCC()
        assert score(metric, true, torch.cat([true[:, :1], torch.full((200, 3), 0.1)], 1)) == pytest.approx(0.25)
        assert metric.matching().tolist() == [0, -1, -1, -1]

    def test_spare_found_latents_cost_nothing(self) -> None:
        true = sparse(200, 4, 2)
        assert score(CodeMCC(), true, torch.cat([normal(200, 9), true], 1)) == pytest.approx(1)

    def test_correlations_are_those_of_torch(self) -> None:
        expected = torch.corrcoef(torch.cat([CODES, OTHERS], 1).T)[:6, 6:].abs()
        metric = CodeMCC()
        metric.update(CODES, OTHERS)
        torch.testing.assert_close(metric.correlations().float(), expected)

    def test_the_best_matching_is_not_the_greedy_one(self) -> None:
        true = torch.eye(2)
        found = torch.tensor([[1.0, 0.9], [0.8, 0.1]])  # cosines: the largest leaves the smallest
        cosines = Dictionary(found).atoms @ true.T
        value = max(float(cosines.diagonal().sum()), float(cosines.flip(0).diagonal().sum())) / 2
        assert score(DictionaryMCC(), true, found) == pytest.approx(value)

    def test_permuted_and_flipped_atoms_are_the_same_dictionary(self) -> None:
        atoms = normal(16, 8)
        assert score(DictionaryMCC(), atoms, -3 * atoms.flip(0)) == pytest.approx(1)
        assert score(DictionaryMCC(), atoms, atoms[:4]) == pytest.approx(0.25)
        with pytest.raises(ReadoutError, match="8 and 7 dimensions"):
            DictionaryMCC().update(atoms, atoms[:, 1:])

    def test_chance_of_dictionaries(self) -> None:
        values = [dictionary_mcc_chance(normal(16, 8, seed=seed), seed=seed) for seed in range(10)]
        assert sum(values) / 10 == pytest.approx(0.632, abs=0.01)
        assert dictionary_mcc_chance(GaussianDictionary(16, 8, seed=3).atoms, draws=1, seed=3) < 0.8
        assert dictionary_mcc_chance(normal(100, 47), draws=3) == pytest.approx(0.369, abs=0.01)

    def test_chance_of_codes(self) -> None:
        codes = sparse(1024, 16, 3)
        assert mcc_chance(codes, codes @ GaussianDictionary(16, 8).atoms) == pytest.approx(0.491, abs=0.02)
        codes = sparse(1024, 100, 10)
        chance = mcc_chance(codes, codes @ GaussianDictionary(100, 47).atoms, encoders=3)
        assert chance == pytest.approx(0.278, abs=0.02)

    def test_consistency_over_seeds(self) -> None:
        atoms = normal(16, 8)
        metric = PWMCC()
        metric.update(atoms)
        with pytest.raises(ReadoutError, match="only one"):
            metric.compute()
        metric.update(-atoms.flip(0))
        assert metric.compute() == pytest.approx(1)
        metric.update(normal(16, 8, seed=1))
        other = score(DictionaryMCC(), atoms, normal(16, 8, seed=1))
        assert metric.compute() == pytest.approx((1 + 2 * float(other)) / 3)


class TestLatents:
    def test_feature_dimensionality_of_toy_models(self) -> None:
        angles = 2 * math.pi * torch.arange(5) / 5
        pentagon = 3 * torch.stack([angles.cos(), angles.sin()], 1)
        assert feature_dimensionality(pentagon).tolist() == pytest.approx([0.4] * 5)
        assert feature_dimensionality(OrthonormalDictionary(4).atoms).tolist() == pytest.approx([1] * 4)
        assert feature_dimensionality(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])).tolist() == pytest.approx([0.5] * 2)
        assert feature_dimensionality(torch.tensor([[0.0, 0.0], [1.0, 0.0]])).tolist() == [0, 1]

    def test_a_linear_map_has_an_r2_of_1_and_noise_none(self) -> None:
        latents = normal(400, 4)
        assert score(LinearR2(), 5 + latents @ normal(4, 8, seed=1), latents) == pytest.approx(1, abs=1e-6)
        assert score(LinearR2(), normal(400, 4, seed=2), latents) == pytest.approx(0, abs=0.1)

    def test_noise_lowers_r2_by_its_share(self) -> None:
        latents = normal(4000, 3)
        assert score(LinearR2(), latents + normal(4000, 3, seed=1), latents) == pytest.approx(0.5, abs=0.03)

    def test_r2_of_superposed_codes_is_that_of_a_projection(self) -> None:
        # the correlation of the best linear estimate is √(M/N), its R² the square
        latents = normal(6000, 32)
        r2 = score(LinearR2(), latents @ GaussianDictionary(32, 8).atoms, latents)
        assert math.sqrt(r2) == pytest.approx(math.sqrt(8 / 32), abs=0.01)

    def test_r2_needs_more_samples_than_coefficients(self) -> None:
        with pytest.raises(ReadoutError, match="give at least 20"):
            score(LinearR2(), normal(19, 8), normal(19, 2))

    def test_l0_and_dead_latents(self) -> None:
        codes = torch.tensor([[1.0, -0.5, 0.0, 1e-5], [0.0, 0.2, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
        assert score(L0(), codes) == 1
        assert score(DeadLatents(), codes) == 0.5

    def test_fvu_of_the_features_and_of_their_mean(self) -> None:
        features = 100 + normal(500, 8)
        assert score(FVU(), features, features) == 0
        assert score(FVU(), features, features.mean(0).expand_as(features)) == pytest.approx(1)
        noisy = features + 0.5 * normal(500, 8, seed=1)
        assert score(FVU(), features, noisy) == pytest.approx(0.25, abs=0.02)
        with pytest.raises(ReadoutError, match="8 dimensions and reconstructions 7"):
            FVU().update(features, features[:, 1:])

    def test_loss_recovered_of_identity_and_ablation(self) -> None:
        clean, ablated = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 3.0])
        assert score(LossRecovered(), clean, clean, ablated) == 1
        assert score(LossRecovered(), clean, ablated, ablated) == 0
        assert score(LossRecovered(), clean, torch.tensor([2.0, 4.0]), ablated) == 0.25


class TestDisentanglement:
    ORDER = torch.tensor([2, 0, 1])
    ROTATION = torch.linalg.qr(normal(3, 3))[0]

    def test_dci_of_permuted_and_of_rotated_latents(self) -> None:
        true = independent(3, copies=20)[:, 1:]
        permuted = score(DCI(trees=50), true, -2 * true[:, self.ORDER])
        assert [float(value) for value in permuted.values()] == pytest.approx([1] * 3, abs=1e-3)
        latents = normal(200, 3)
        rotated = score(DCI(trees=30), latents, latents @ self.ROTATION)
        straight = score(DCI(trees=30), latents, latents)
        assert max(rotated["disentanglement"], rotated["completeness"]) < 0.5
        assert min(straight["disentanglement"], straight["completeness"]) > 0.9
        assert straight["informativeness"] > rotated["informativeness"]

    def test_dci_tells_disentanglement_from_completeness(self) -> None:
        a, b = independent(2, copies=50)[:, 1:].T
        summed = score(DCI(trees=50), torch.stack([a, b], 1), torch.stack([a + 2 * b, a + 2 * b], 1))
        assert summed["disentanglement"] < 0.2
        repeated = score(DCI(trees=50), torch.stack([a, b], 1), torch.stack([a, a, b, b], 1))
        assert repeated["disentanglement"] == pytest.approx(1, abs=1e-3)
        assert repeated["completeness"] < 0.6

    def test_constant_latents_are_left_out_of_dci(self) -> None:
        true = independent(2, copies=20)
        assert score(DCI(trees=50), true, true)["completeness"] == pytest.approx(1, abs=1e-3)
        with pytest.raises(ReadoutError, match="No true latent varies"):
            score(DCI(), torch.ones(20, 2), normal(20, 2))

    def test_mig_of_permuted_repeated_and_rotated_latents(self) -> None:
        true = independent(3)
        assert score(MIG(), true, true.flip(1)) == pytest.approx(1)
        assert score(MIG(), true, true[:, :2]) == pytest.approx(1 / 3)
        assert score(MIG(), true, true.repeat(1, 2)) == pytest.approx(0)
        assert score(MIG(), true[:, 1:], true[:, 1:] @ self.ROTATION) < 0.1

    def test_mig_of_sparse_codes(self) -> None:
        true = sparse(2000, 16, 3)
        assert score(MIG(), true, -3 * true.flip(1)) == pytest.approx(1, abs=0.03)
        assert score(MIG(), true, sparse(2000, 16, 3, seed=7)) < 0.02

    def test_one_latent_that_is_the_label_is_found(self) -> None:
        labels = torch.arange(200) % 2
        codes = normal(200, 20)
        codes[:, 7] = labels
        assert k_sparse_probe(codes, labels, 1) == 1
        assert k_sparse_probe(normal(200, 20), labels, 1) < 0.65

    def test_more_classes_take_more_latents(self) -> None:
        labels = torch.arange(400) % 4
        codes = torch.nn.functional.one_hot(labels, 4) + 0.1 * normal(400, 4)
        codes = torch.cat([torch.zeros(400, 1), codes, normal(400, 5, seed=1)], 1)
        assert k_sparse_probe(codes, labels, 1) < 0.6
        assert k_sparse_probe(codes, labels, 4) == 1

    def test_probes_refuse_what_they_cannot_fit(self) -> None:
        with pytest.raises(ReadoutError, match="k is 3"):
            k_sparse_probe(normal(20, 2), torch.arange(20) % 2, 3)
        with pytest.raises(ReadoutError, match="one class only"):
            k_sparse_probe(normal(20, 2), torch.ones(20), 1)
        with pytest.raises(ReadoutError, match="same samples"):
            k_sparse_probe(normal(20, 2), torch.ones(19), 1)

    def test_planted_absorption(self) -> None:
        # latent 1 is a child of latent 0: active with it only; latent 2 has no family
        codes = independent(3)[:, 1:].repeat(4, 1)
        codes[:, 1] *= codes[:, 0]
        atoms = torch.eye(3)
        parents = [-1, 0, -1]
        clean = absorption(codes, codes, atoms, atoms, parents)
        assert clean[0] == 0
        assert clean[1:].isnan().all()
        found, found_atoms = codes.clone(), atoms.clone()
        found[:, 0] *= 1 - codes[:, 1]
        found_atoms[1] = atoms[0] + atoms[1]
        torch.testing.assert_close(found @ found_atoms, codes @ atoms)
        order = [2, 0, 1]
        absorbed = absorption(codes, found[:, order], atoms, found_atoms[order], parents)
        assert absorbed[0] == 0.5  # the child is active in half of the parent's firings
        # silence alone is no absorption: nothing takes the parent's place
        assert absorption(codes, found, atoms, atoms, parents)[0] == 0
        # nor is a negative latent that subtracts the parent
        found_atoms[1] = atoms[1] - atoms[0]
        assert absorption(codes, found, atoms, found_atoms, parents)[0] == 0

    def test_children_that_share_all_firings_can_absorb_all_of_them(self) -> None:
        child = torch.eye(3)[torch.arange(30) % 3]  # the third is no child, and the parent silent
        codes = torch.cat([child[:, :1] + child[:, 1:2], child], 1)
        found = torch.cat([torch.zeros(30, 1), child], 1)
        atoms = torch.eye(4)
        found_atoms = atoms + torch.eye(4)[0] * torch.tensor([[0.0], [1.0], [1.0], [0.0]])
        parents = [-1, 0, 0, -1]
        assert absorption(codes, found, atoms, found_atoms, parents)[0] == 1
        assert absorption(codes, codes, atoms, atoms, parents)[0] == 0

    def test_absorption_needs_an_atom_per_latent(self) -> None:
        with pytest.raises(ReadoutError, match="6 true and 5 found latents"):
            absorption(CODES, OTHERS, torch.eye(6), torch.eye(6), [-1] * 6)


class TestInterpretability:
    def test_monosemanticity_is_the_weighted_mean_of_pairs(self) -> None:
        activations, embeddings = normal(40, 3), normal(40, 5, seed=1)
        scaled = (activations - activations.amin(0)) / (activations.amax(0) - activations.amin(0))
        unit = embeddings / embeddings.norm(dim=1, keepdim=True)
        pairs = torch.triu_indices(40, 40, 1)
        weights = scaled[pairs[0]] * scaled[pairs[1]]
        cosines = (unit[pairs[0]] * unit[pairs[1]]).sum(1)
        expected = (weights * cosines.unsqueeze(1)).sum(0) / weights.sum(0)
        torch.testing.assert_close(score(Monosemanticity(), activations, embeddings), expected)

    def test_monosemanticity_of_identical_images_is_1_and_of_none_unknown(self) -> None:
        activations = torch.cat([sparse(50, 4, 2), torch.zeros(50, 1), torch.eye(50)[:, :1]], 1)
        values = score(Monosemanticity(), activations, torch.ones(50, 3))
        assert values[:4].tolist() == pytest.approx([1] * 4)
        assert values[4:].isnan().all()

    def test_machine_interpretability_of_clear_opposite_and_random_latents(self) -> None:
        kinds = torch.arange(200) % 2
        embeddings = torch.eye(2)[kinds] + 0.1 * normal(200, 2)
        noise = torch.rand(200, generator=torch.Generator().manual_seed(1))
        activations = torch.stack([kinds + 0.1 * noise, noise, torch.zeros(200)], 1)
        clear, random, dead = score(MachineInterpretability(tasks=500), activations, embeddings).tolist()
        assert clear == 1
        assert [random, dead] == pytest.approx([0.5] * 2, abs=0.15)
        soft = score(MachineInterpretability(sharpness=1), activations, embeddings)
        assert 0.7 < soft[0] < 0.9

    def test_machine_interpretability_takes_any_similarity(self) -> None:
        activations, embeddings = normal(100, 3), normal(100, 4, seed=1)
        unit = embeddings / embeddings.norm(dim=1, keepdim=True)
        metric = MachineInterpretability(explanations=3)
        torch.testing.assert_close(score(metric, activations, embeddings), metric.score(activations, unit @ unit.T))
        with pytest.raises(ReadoutError, match="one row and column per image"):
            metric.score(activations, embeddings)

    def test_machine_interpretability_needs_images_for_a_task(self) -> None:
        with pytest.raises(ReadoutError, match="has 5 of 20 images, but a task takes 10"):
            score(MachineInterpretability(), normal(20, 2), normal(20, 3))
