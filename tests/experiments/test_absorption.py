from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.absorption import absorbing, conclude, main
from experiments.shared.claims import stands
from experiments.shared.dictionaries import Tree
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_parent_and_child_as_one_atom_reaches_the_least_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = run(main, tmp_path)
    pairs = table[table["data"] == "pairs"].groupby("learner").mean(numeric_only=True)
    assert (pairs["objective"] > pairs["least"] * (1 - 1e-5)).all()
    one, true = pairs.loc["parent + child"], pairs.loc["true atoms"]
    assert one["objective"] == pytest.approx(one["least"], rel=1e-4)
    assert true["objective"] > 1.1 * true["least"]
    assert (true["absorption"], true["mcc"]) == (0, pytest.approx(1))
    assert one["absorption"] == pytest.approx(one["share"], abs=0.03)
    learnt = pairs.loc["alternating"]
    assert learnt["objective"] == pytest.approx(learnt["least"], rel=0.01)
    run_again(main, tmp_path, table, monkeypatch)


def test_children_are_active_with_their_parents_only() -> None:
    tree = Tree(500, parents=4, children=3, active=2, share=0.6)
    parents, children = tree.codes[:, :4], tree.codes[:, 4:].view(-1, 4, 3)
    assert (parents.sum(1) == 2).all()
    assert (children.sum(2) <= parents).all()
    assert float(children.sum(2)[parents > 0].mean()) == pytest.approx(0.6, abs=0.05)
    assert tree.parent_of == [-1] * 4 + [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_an_absorbing_atom_lies_between_parent_and_child() -> None:
    atoms = absorbing(torch.eye(3), [-1, 0, -1])
    torch.testing.assert_close(atoms, torch.tensor([[1, 0, 0], [0.5**0.5, 0.5**0.5, 0], [0, 0, 1]]))


def test_sentences_follow_the_numbers() -> None:
    numbers = {"share": 0.5, "l0": 2.0, "fvu": 0.01, "least": 1.0}
    pairs = [
        {"data": "pairs", "learner": name, "seed": 0, "absorption": share, "objective": 1.0, **numbers}
        for name, share in {"alternating": 0.5, "ReLU": 0.1}.items()
    ]
    tree = [
        {"data": "tree", "learner": name, "seed": seed, "absorption": share + seed / 100, "objective": 1.0, **numbers}
        for name, share in {"ReLU": 0.4, "TopK": 0.0, "Matryoshka": 0.1}.items()
        for seed in range(5)
    ]
    first, second = conclude(pd.DataFrame(pairs + tree))
    assert "learns 'parent + child' holds in part" in first
    assert "alternating 100% at +0.0%, ReLU 20% at +0.0%" in first
    assert "absorbs less holds in part (-0.30" in second
    assert "0.10 (0.10 to 0.10) against TopK" in second


def test_a_verdict_counts_the_parts() -> None:
    assert [stands([True, True]), stands([True, False]), stands([False])] == ["holds", "holds in part", "does not hold"]
