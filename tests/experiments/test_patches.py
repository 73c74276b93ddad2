from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.patches import conclude, excess_kurtosis, main, orientation_selectivity, used_pixels
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_it_ends_in_measures_of_every_atom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = run(main, tmp_path)
    assert table["atoms"].value_counts().to_dict() == {"dictionary": 36, "PCA": 36, "patches": 36}
    means = table.groupby("atoms")[["pixels", "orientation"]].mean()
    assert means["pixels"]["dictionary"] < means["pixels"]["PCA"]
    assert means["orientation"]["dictionary"] > means["orientation"]["patches"]
    run_again(main, tmp_path, table, monkeypatch)


def test_one_pixel_is_local_and_a_grating_is_oriented() -> None:
    wave = torch.sin(torch.arange(8.0) * torch.pi / 2 + 0.5)
    atoms = torch.stack([torch.eye(64)[9], wave.repeat(8, 1).flatten(), wave.repeat(8, 1).T.flatten()])
    share = used_pixels(atoms)
    assert share[0] == pytest.approx(1 / 64)
    assert share[1] > 0.6
    selective = orientation_selectivity(atoms)
    assert selective[0] < 0.05
    assert selective[1:].min() > 0.8
    assert used_pixels(torch.ones(1, 64)) == pytest.approx(1)


def test_excess_kurtosis_of_known_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(100_000, generator=generator)
    uniform = torch.rand(100_000, generator=generator)
    found = excess_kurtosis(torch.stack([normal, uniform], 1))
    torch.testing.assert_close(found, torch.tensor([0.0, -1.2]), atol=0.06, rtol=0)


def test_sentences_follow_the_numbers() -> None:
    numbers = {"orientation": 0.5, "projected": 1.0}
    rows = [
        {"atoms": name, "pixels": pixels + n / 1000, "kurtosis": kurtosis + n, **numbers}
        for name, pixels, kurtosis in (("dictionary", 0.2, 100), ("PCA", 0.4, 5), ("patches", 0.4, 10))
        for n in range(6)
    ]
    first, second = conclude(pd.DataFrame(rows))
    assert "localised and oriented holds in part: share of pixels in use dictionary 0.20" in first
    assert "sparser holds in part: excess kurtosis of codes dictionary 102.50" in second
