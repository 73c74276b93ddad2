from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.layer_codes import main
from experiments.shared.replaced import replaced
from tests.experiments.helpers import run, run_again
from tests.tiny import TinyNet


@pytest.mark.slow
def test_smoke_reads_codes_of_images_and_texts_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(main, tmp_path)
    unexplained = found.set_index(["model", "reader"])["unexplained"].unstack()
    assert (unexplained["pursuit"] < unexplained["encoder"]).all()
    assert (unexplained["pursuit"] < unexplained["random atoms, pursuit"]).all()
    assert found.groupby("model")["entropy_kept"].count().to_dict() == {"VGG19": 0, "llama": 5}
    latents = pd.read_csv(tmp_path / "latents.csv")
    assert set(latents["model"]) == {"VGG19", "llama"}
    run_again(main, tmp_path, found, monkeypatch)


def test_a_network_goes_on_from_what_replaces_a_feature() -> None:
    network, x = TinyNet(), torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    late = network.extract(x, "late")
    with replaced(network, "middle", lambda feature: feature):
        assert torch.equal(network.extract(x, "late"), late)
    with replaced(network, "middle", lambda feature: 0 * feature):
        blank = network.extract(x, "late")
    assert torch.equal(blank[0], blank[1])
    assert torch.equal(network.extract(x, "late"), late)
