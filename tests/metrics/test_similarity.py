"""Known answers of measures of similarity, what each is invariant to, and bands, nulls and sizes over layers."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from readout.analysis.similarity import layer_features, print_similarity, similarity_table, with_sizes
from readout.common.errors import ReadoutError
from readout.data import Sample, Samples, UniformNoise, load_samples
from readout.extractors import LanguageModel
from readout.metrics import CKA, RSA, OneToOne, Procrustes, Similarity
from tests.tiny import TinyNet, concrete_classes
from tests.tiny_text import save_tiny


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, Q = normal(30, 12), torch.linalg.qr(normal(12, 12, seed=1).double()).Q.float()
ORDER = torch.randperm(12, generator=torch.Generator().manual_seed(2))


class Entry(NamedTuple):
    """A measure, and what is the same representation by it."""

    make: Callable[[], Similarity]
    rotation: bool = True
    offset: bool = True
    """Another constant added to each unit."""


MEASURES = {
    "CKA": Entry(CKA),
    "biased CKA": Entry(lambda: CKA(debiased=False)),
    "RSA": Entry(RSA, rotation=False, offset=False),
    "Pearson RSA": Entry(lambda: RSA("pearson"), rotation=False, offset=False),
    "Procrustes": Entry(Procrustes),
    "OneToOne": Entry(OneToOne, rotation=False),
}
of_measures = pytest.mark.parametrize("entry", MEASURES.values(), ids=MEASURES)


def test_every_measure_has_an_entry() -> None:
    assert {type(entry.make()) for entry in MEASURES.values()} == concrete_classes(Similarity)


@of_measures
def test_the_same_representation_has_a_similarity_of_1(entry: Entry) -> None:
    assert entry.make()(X, X).item() == pytest.approx(1, abs=1e-6)
    assert entry.make()(X, 3 * X[:, ORDER] + 2).item() == pytest.approx(1, abs=1e-6)
    assert (entry.make()(X, X @ Q).item() == pytest.approx(1, abs=1e-6)) is entry.rotation
    assert (entry.make()(X, X + 5 * normal(12, seed=3)).item() == pytest.approx(1, abs=1e-5)) is entry.offset


@of_measures
def test_sides_may_differ_in_width_and_do_not_matter(entry: Entry) -> None:
    y = torch.cat([X[:, :5], normal(30, 40, seed=4)], 1)
    there, back = entry.make()(X, y).item(), entry.make()(y, X).item()
    assert there == pytest.approx(back, abs=1e-6)
    assert there < 0.9


class TestCKA:
    def test_of_independent_units_only_the_debiased_one_is_0(self) -> None:
        """Of n inputs: debiased 0 ± 1/√(n(n − 3)/2), an angle of U-centred matrices; biased 1/(1 + n/units)."""
        deviation = 1 / math.sqrt(64 * 61 / 2)
        pairs = [normal(2, 64, 1000, seed=seed) for seed in range(20)]
        debiased = np.array([CKA()(*pair).item() for pair in pairs])
        assert abs(debiased.mean()) < 3 * deviation / math.sqrt(20)
        assert debiased.std(ddof=1) == pytest.approx(deviation, rel=0.35)
        assert abs(debiased).max() < 3.5 * deviation  # -0.015 is as likely as 0.015
        biased = np.array([CKA(debiased=False)(*pair).item() for pair in pairs])
        assert biased.mean() == pytest.approx(1 / 1.064, abs=0.002)
        assert biased[:4] == pytest.approx(0.939, abs=0.006)

    def test_formulas_of_the_papers(self) -> None:
        x, y = X.double().numpy(), (X[:, :3] + normal(30, 3, seed=5)).double().numpy()

        def hsic(one: Any, other: Any) -> float:
            """Song et al. 2012, equation 5."""
            k, m, n = one @ one.T, other @ other.T, len(one)
            np.fill_diagonal(k, 0)
            np.fill_diagonal(m, 0)
            middle = k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) @ m.sum(0)) / (n - 2)
            return (np.trace(k @ m) + middle) / (n * (n - 3))

        found = CKA()(torch.from_numpy(x), torch.from_numpy(y)).item()
        assert found == pytest.approx(hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y)), abs=1e-6)
        x, y = x - x.mean(0), y - y.mean(0)
        kornblith = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
        found = CKA(debiased=False)(torch.from_numpy(x), torch.from_numpy(y)).item()
        assert found == pytest.approx(kornblith, abs=1e-6)


def test_other_measures_are_those_of_scipy() -> None:
    y = X[:, :7] + normal(30, 7, seed=6)
    pairs = [pdist(side.double().numpy(), "correlation") for side in (X, y)]
    assert RSA()(X, y).item() == pytest.approx(spearmanr(*pairs).statistic, abs=1e-6)
    assert RSA("pearson")(X, y).item() == pytest.approx(pearsonr(*pairs).statistic, abs=1e-6)
    disparity = procrustes(X.numpy(), torch.nn.functional.pad(y, (0, 5)).numpy())[2]
    assert Procrustes()(X, y).item() == pytest.approx(math.sqrt(1 - disparity), abs=1e-6)


def test_a_planted_permutation_is_matched_whole() -> None:
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    x = normal(100, 300)
    noisy = x[:, order] * (1 + torch.arange(300)) + 0.01 * normal(100, 300, seed=1)
    assert OneToOne()(x, noisy).item() > 0.999
    assert OneToOne()(x, noisy[:, :100]).item() > 0.999  # as many as the narrower side has
    assert OneToOne()(x, -x).item() < 0.5  # correlations have signs
    assert OneToOne()(x[:, :2], torch.stack([x[:, 1], torch.ones(100)], 1)).item() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("measure", "x", "words"),
    [
        (CKA(), X[:3], r"CKA got 3 inputs; give at least 4\.$"),
        (
            Procrustes(),
            torch.ones(30, 2),
            r"y is the same for all inputs, so it is similar to nothing; leave it out\.$",
        ),
        (RSA(), X[:, :1], r"y has an input with the same value at all units"),
        (OneToOne(), normal(30, 5001), r"y has 5,001 units, .* draw at most 5,000 of them\.$"),
    ],
)
def test_what_has_no_similarity_is_refused_in_a_sentence(measure: Similarity, x: Tensor, words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        measure(X[: len(x)], x)


class TestTable:
    def test_bands_hold_what_they_estimate_and_the_null_is_chance(self) -> None:
        """Half of the variance shared: CKA of x with (x + noise)/√2 is 1/2 for many inputs and independent units."""
        x, noise = normal(2, 200, 20)
        others = {"shared": x + noise, "noise": noise}
        table = similarity_table(CKA(), {"x": x}, others, resamples=39).set_index("other")
        shared, chance = table.loc["shared"], table.loc["noise"]
        assert shared["similarity"] == pytest.approx(0.5, abs=0.05)
        assert shared["inputs_low"] < shared["similarity"] < shared["inputs_high"] < shared["inputs_low"] + 0.15
        assert shared["p"] == 1 / 40
        assert abs(shared["null"]) < 0.01
        assert chance["p"] > 0.05
        assert chance["inputs_low"] < 0 < chance["inputs_high"]

    def test_the_null_shows_what_chance_gives_a_biased_measure(self) -> None:
        x, y = normal(2, 30, 100)
        (row,) = similarity_table(Procrustes(), {"x": x}, {"y": y}, resamples=50).to_dict("records")
        assert row["similarity"] == pytest.approx(row["null"], abs=0.02)
        assert row["similarity"] > 0.8
        assert row["p"] > 0.02

    def test_layers_among_each_other_are_compared_both_ways(self) -> None:
        layers = {"b": X, "a": X @ Q, "c": normal(30, 9, seed=7)}
        table = similarity_table(CKA(), layers, resamples=5)
        assert table["layer"].tolist() == ["b", "b", "a", "a", "c", "c"]
        matrix = table.pivot(index="layer", columns="other", values="similarity")
        assert matrix.equals(matrix.T.rename_axis(index="layer", columns="other"))
        assert matrix.loc["a", "b"] == pytest.approx(1)
        assert table[table["layer"] == "c"][["units", "other_units"]].to_numpy().tolist() == [[9, 12], [9, 12]]
        pd.testing.assert_frame_equal(table, similarity_table(CKA(), layers, resamples=5))

    def test_a_band_over_units_is_that_of_halves(self) -> None:
        """Two units that correlate by ±1: any half of them is one unit, whose CKA is 1."""
        x = X[:, :1] * torch.tensor([1.0, -2.0])
        (row,) = similarity_table(CKA(), {"x": x}, {"y": x}, resamples=10).to_dict("records")
        assert [row["units_low"], row["units_high"]] == pytest.approx([1, 1])
        (row,) = similarity_table(CKA(), {"x": X[:, :2]}, {"y": X[:, :2]}, resamples=40).to_dict("records")
        assert row["units_low"] < 0.2
        assert row["units_high"] == pytest.approx(1)

    @pytest.mark.parametrize(
        ("layers", "others", "words"),
        [
            ({"a": X[:7], "b": X[:7]}, None, "There are 7 inputs, and bands compare half of them; give at least 8"),
            ({"a": X}, None, "one layer and nothing to compare it with"),
            ({"a": X}, {"a": X[:29]}, "30 rows of a and 29 rows of other a; give them for the same samples"),
            ({"a": X, "b": X / 0}, None, "b has values that are NaN or infinite"),
        ],
    )
    def test_what_can_not_be_compared_is_refused(self, layers: Any, others: Any, words: str) -> None:
        with pytest.raises(ReadoutError, match=words):
            similarity_table(CKA(), layers, others)

    def test_similarity_is_correlated_with_size_where_there_are_enough_layers(self) -> None:
        similarities = {"V1": [0.9, 0.7, 0.8, 0.1], "V4": [0.1, 0.2, 0.3, 0.4], "flat": [0.5] * 4}
        rows = [
            (layer, name, s) for name, values in similarities.items() for layer, s in zip("abcd", values, strict=True)
        ]
        table = pd.DataFrame(rows, columns=["layer", "other", "similarity"]).assign(measure="CKA", inputs=9)
        table = table.assign(inputs_low=0.0, inputs_high=1.0, null=0.0, p=0.5)
        found = with_sizes(table, {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.2}).groupby("other").first()
        assert found["size_correlation"].loc[["V1", "V4"]].tolist() == pytest.approx([0.8, -1])
        assert math.isnan(found["size_correlation"]["flat"])
        few = with_sizes(table, {"a": 0.5, "b": 0.4, "c": 0.3})
        assert few["size_correlation"].isna().all()
        assert (few["size_layers"] == 3).all()
        console = Console(record=True, width=150)
        print_similarity(few, console)
        assert "fewer than 4 layers have sizes" in console.export_text()
        with pytest.raises(ReadoutError, match="None of a, b, c, d has a size there"):
            with_sizes(table, {"e": 0.5})

    def test_as_many_columns_are_printed_as_fit(self) -> None:
        layers = {f"layer_{place}": normal(10, 3, seed=place) for place in range(12)}
        console = Console(record=True, width=60)
        print_similarity(similarity_table(CKA(), layers, resamples=1), console)
        said = console.export_text()
        assert "6 of 12 columns, as many as fit here" in said
        assert "…" not in said


def test_features_are_rows_of_the_same_drawn_units() -> None:
    network = TinyNet()
    samples = load_samples(UniformNoise(20, (3, 8, 8)), network)
    whole = layer_features(network, samples, ["early", "middle", "late"])
    plain = network.extract(samples.stack(list(samples)), "early").flatten(1)
    torch.testing.assert_close(whole["early"], plain)
    drawn = layer_features(network, samples, ["early", "middle", "late"], units=256)
    assert [x.shape[1] for x in drawn.values()] == [256] * 3
    assert torch.equal(drawn["late"], whole["late"])  # no wider than that
    kept = (drawn["early"][:, :, None] == whole["early"][:, None]).all(0).nonzero()[:, 1]
    assert len(kept.unique()) == 256


def test_features_of_texts_are_averaged_over_their_positions(tmp_path: Path) -> None:
    network = LanguageModel(save_tiny(tmp_path))
    texts = [torch.arange(5, 5 + length) for length in (4, 9)]
    samples = Samples.of([Sample(str(len(ids)), ids) for ids in texts])
    found = layer_features(network, samples, ["embeddings", "layer.1"])["layer.1"]
    plain = [network.extract(network.embed(ids.unsqueeze(0)), "layer.1")[0].mean(0) for ids in texts]
    torch.testing.assert_close(found, torch.stack(plain))
