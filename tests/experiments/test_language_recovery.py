from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from experiments.language_recovery import chance_levels, main
from experiments.summaries.language_recovery import compare_with_chance, conclude
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_reads_causal_networks_in_both_ways_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = run(main, tmp_path)
    counts = results.groupby(["network", "readout"]).size().to_dict()
    assert counts == {("bert", "logits"): 18, ("llama", "logits"): 18, ("llama", "search"): 18}
    means = results.groupby(["network", "readout", "layer", "level"])["distance"].mean().to_dict()
    # the whole vocabulary is tried, so an unmoved feature of a causal network gives every token back
    assert means["llama", "search", "embeddings", 0] == means["llama", "search", "layer.1", 0] == 0
    assert means["bert", "logits", "embeddings", 0] < 0.3
    assert (results["chance"] > 0.8).all()
    sizes = pd.read_csv(tmp_path / "sizes.csv")
    assert set(sizes["depth"]) == {0, 1}
    assert len(sizes) == 3 * 2 * 3
    run_again(main, tmp_path, results, monkeypatch)


def test_chance_is_what_other_texts_give() -> None:
    texts = {"a": torch.tensor([1, 5, 6, 2]), "b": torch.tensor([1, 5, 7, 8, 2]), "c": torch.tensor([1, 9, 6, 2])}
    scored = {name: ids > 2 for name, ids in texts.items()}
    results = pd.DataFrame({"layer": "l", "level": 0.3, "draw": 0, "sample": list("abc"), "key": list("ABC")})
    recovered = {"A": texts["a"], "B": texts["b"], "C": torch.tensor([1, 5, 6, 2])}
    # b's two first scored tokens against a's: one wrong; of a's and c's reading b keeps one of three
    assert chance_levels(results, texts, scored, recovered).tolist() == pytest.approx([0.25, 2 / 3, 0.75])


def problems(readout: str, rates: list[float]) -> pd.DataFrame:
    table = pd.DataFrame({"distance": rates, "sample": [f"s{place}" for place in range(len(rates))]})
    verdicts = ["recovered" if rate < 0.3 else "not_converged" for rate in rates]
    shared: dict[str, Any] = {"network": "net", "layer": "l", "level": 0.3, "draw": 0, "threshold": 0.3, "chance": 0.9}
    return table.assign(readout=readout, verdict=verdicts, **shared)


def test_sentences_follow_the_numbers() -> None:
    lost = [0.5, 0.6, 0.55, 0.7, 0.65, 0.8]
    results = pd.concat([problems("logits", lost), problems("search", [0.0] * 5 + [0.9])], ignore_index=True)
    chance = compare_with_chance(results)
    assert chance["p_raw"].tolist() == pytest.approx([2 / 64, 4 / 64])  # the last search lies at chance
    sizes = results[["network", "readout", "layer", "sample"]].assign(size=0.3, depth=0.5, width=8, vocabulary=100)
    first, second = conclude(results, sizes, chance)
    assert "2 of 2 mean error rates lie below chance" in first
    assert "Of 6 features of causal networks token logits lose 6, of which 5 are read token by token, so most" in second
    assert "can't be told from 1 networks" in second
    sizes = pd.concat([sizes.assign(network=str(place), width=place, size=place / 10) for place in range(1, 6)])
    assert "over 5 networks mean size goes with width by ρ = 1.00" in conclude(results, sizes, chance)[1]
