from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from readout import cli, load_results
from readout.common.errors import ReadoutError
from readout.extractors import ONet
from readout.extractors.onet import ONET
from readout.extractors.weights import fetch, load_state_dict


@pytest.mark.real_weights
def test_every_layer_of_the_real_network_equals_its_plain_computation() -> None:
    state = load_state_dict(fetch(ONET))
    extractor = ONet()
    x = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    h = (x * 255 - 127.5) / 128  # as its authors prepare images
    for number, pool in ((1, 3), (2, 3), (3, 2), (4, 0)):
        h = F.conv2d(h, state[f"conv{number}.weight"], state[f"conv{number}.bias"])
        torch.testing.assert_close(extractor.extract(x, f"conv{number}"), h, atol=1e-5, rtol=1e-5)
        h = F.prelu(h, state[f"prelu{number}.weight"])
        h = F.max_pool2d(h, pool, 2, ceil_mode=True) if pool else h
    dense = F.linear(h.permute(0, 3, 2, 1).flatten(1), state["dense5.weight"], state["dense5.bias"])
    torch.testing.assert_close(extractor.extract(x, "dense5"), dense, atol=1e-5, rtol=1e-5)


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ReadoutError, match="does not hold the weights of an O-Net"):
        ONet(str(tmp_path / "other.pt"))


@pytest.mark.real_weights
def test_its_configuration_recovers_a_photograph_from_the_first_layer(tmp_path: Path) -> None:
    arguments = ["--data.names", "[coffee]", "--sweep.layers", "[conv1, dense5]", "--sweep.levels", "[0]"]
    arguments += ["--trainer.max_steps", "60", "--sweep.output", str(tmp_path / "out")]
    assert cli.main(["fit", "--config", "onet_dip.yaml", *arguments]) == 0
    results = load_results(tmp_path / "out")
    assert results["layer"].tolist() == ["conv1", "dense5"]
    assert results["verdict"].tolist() == ["recovered", "not_converged"]
