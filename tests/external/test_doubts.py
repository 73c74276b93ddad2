"""Features that look as if they were another network's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from readout.external.doubts import doubt
from tests.external.test_files import save
from tests.sweep.test_external import config, invert, tiny_features

OWN = torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(0))
ALIKE = torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("own", "given", "words"),
    [
        (OWN, [ALIKE, ALIKE], None),
        (OWN, [9 * ALIKE, ALIKE / 9], None),
        (OWN.relu(), [ALIKE.relu()], None),  # taken after the ReLU on both sides
        (torch.zeros_like(OWN), [ALIKE], None),  # a layer that gives nothing has no scale
        (OWN, [ALIKE.relu(), ALIKE], None),
        (OWN, [ALIKE.relu(), ALIKE.abs()], "No feature of early has a value below 0, but Net (own) gives"),
        (OWN, [12 * ALIKE], "another scale than those of Net (own)"),
        (OWN, [ALIKE / 12], "another scale than those of Net (own)"),
    ],
)
def test_what_is_doubted(own: torch.Tensor, given: list[torch.Tensor], words: str | None) -> None:
    features = {str(place): {"early": row} for place, row in enumerate(given)}
    said = doubt(features, {"early": own}, "Net (own)")
    assert said is None if words is None else words in str(said)


def test_only_layers_that_are_odd_are_named() -> None:
    features = {"cat": {"early": ALIKE, "late": 20 * ALIKE}}
    said = str(doubt(features, {"early": OWN, "late": OWN}, "Net (own)"))
    assert "early" not in said
    assert f"late {20 * ALIKE.std(correction=0):.3g} and not about {OWN.std(correction=0):.3g}" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda feature: feature, None),
        (lambda feature: feature.clip(0), "after a ReLU"),
        (lambda feature: 100 * feature, "other weights"),
    ],
)
def test_a_prediction_warns_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, words: str | None
) -> None:
    arrays = {layer: change(values) for layer, values in tiny_features("early", "late").items()}
    path = save(tmp_path / "decoded.npz", arrays)
    assert invert(config(tmp_path, steps=2), "--features", path) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("warning") == int(words is not None)
    assert words is None or words in printed
