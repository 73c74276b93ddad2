from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.dimension import conclude, main, summarise
from experiments.shared.channels import ChannelSubsets
from readout.representation import linear_size
from tests.experiments.helpers import run, run_again
from tests.tiny import TinyNet


@pytest.mark.slow
def test_sizes_stand_beside_the_closed_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = run(main, tmp_path)
    assert sizes.groupby(["varied", "layer"])["feature_dim"].first().to_dict() == {
        ("channels", "conv1_1:4"): 4 * 256,
        ("channels", "conv1_1:64"): 64 * 256,
        ("layers", "conv1_1"): 64 * 256,
        ("layers", "conv2_1"): 128 * 64,
    }
    assert sizes["linear"].tolist() == [linear_size(0.1, dim / 768) for dim in sizes["feature_dim"]]
    # a first convolution is linear: all of its channels tell more than four of them
    means = sizes.groupby("layer")["size"].mean()
    assert means["conv1_1:64"] > means["conv1_1:4"] + 0.1
    assert means["conv1_1:64"] == pytest.approx(means["conv1_1"], abs=0.1)  # other noise, the same feature
    run_again(main, tmp_path, sizes, monkeypatch)


def test_subsets_are_nested_channels_of_the_layer() -> None:
    network, x = TinyNet(), torch.rand(2, 3, 16, 16)
    subsets = ChannelSubsets(network, "middle", (2, 5, 16), seed=1)
    whole = network.extract(x, "middle")
    few, more = (subsets.extract(x, f"middle:{count}") for count in (2, 5))
    assert few.shape[1] == 2
    assert torch.equal(subsets.extract(x, "middle:16"), whole)
    for part, of in ((few, more), (more, whole)):
        assert all(any(torch.equal(channel, other) for other in of[0]) for channel in part[0])
    assert subsets.shapes(x)["middle:5"] == (5, *whole.shape[2:])
    assert ChannelSubsets(network, "middle", (2,), seed=2).fingerprint() != subsets.fingerprint()


@pytest.mark.parametrize(("slope", "word"), [(0.01, "rises"), (-0.01, "falls")])
def test_sentences_follow_the_numbers(slope: float, word: str) -> None:
    rows = [
        {"layer": f"l{dim}", "sample": sample, "feature_dim": dim, "size": 0.5 + slope * dim + 0.001 * place,
         "linear": 0.3, "lower_bound": 0.0, "varied": varied, "readout": "pixels", "subset": 0}
        for varied in ("layers", "channels")
        for dim in (1, 2, 3)
        for place, sample in enumerate("abcd")
    ]  # fmt: skip
    sizes = pd.DataFrame(rows)
    first, second = conclude(sizes, summarise(sizes), "conv")
    assert first.count(f"{word} with pixels (ρ = {'' if slope > 0 else '-'}") == 2
    assert "above it) over layers with pixels" in second
