from pathlib import Path

import pytest

from readout.analysis.comparison import all_layers, cautions, joined_sizes, settings_table
from readout.problems import Setting
from tests.analysis.helpers import in_one_pass, make_output, make_results

LOST, KEPT = (0.0, 0.9), (0.0, 0.05)


def test_sizes_of_the_same_inputs_are_compared_pair_by_pair(tmp_path: Path) -> None:
    first = make_output(tmp_path / "a", make_results({("early", name): LOST for name in "xyz"}))
    second = make_output(tmp_path / "b", make_results({("early", name): KEPT for name in "yzw"}))
    (row,) = joined_sizes([first, second])
    a, b = row.sizes
    assert a is not None
    assert b is not None
    assert (a.median, a.mean.value, a.count, a.bounds) == pytest.approx((0.01, 0.01, 3, 0))
    assert (b.median, b.mean.value, b.bounds) == pytest.approx((0.51, 0.51, 3))  # recovered at the highest level
    (difference,) = row.differences
    assert difference is not None
    assert difference.mean.value == pytest.approx(0.5)
    assert (difference.count, difference.bounds) == (2, 2)


def test_a_layer_that_one_folder_lacks_has_no_number_there(tmp_path: Path) -> None:
    first = make_output(tmp_path / "a", make_results({("early", "x"): KEPT, ("late", "x"): LOST}))
    second = make_output(tmp_path / "b", make_results({("middle", "x"): KEPT, ("late", "x"): KEPT}))
    rows = {row.layer: row for row in joined_sizes([first, second])}
    assert list(rows) == ["early", "middle", "late"]  # beside its neighbour
    assert rows["middle"].sizes[0] is None
    assert rows["middle"].differences == [None]
    assert rows["late"].differences[0] is not None
    other = make_output(tmp_path / "c", make_results({("block.0", "x"): KEPT, ("block.1", "x"): KEPT}))
    assert all_layers([first, other]) == ["early", "late", "block.0", "block.1"]


def test_a_reader_is_told_what_differs(tmp_path: Path) -> None:
    results = make_results({("early", "x"): KEPT})
    first = make_output(tmp_path / "a", results)
    assert cautions([first]) == []
    assert cautions([first, make_output(tmp_path / "b", results)]) == []
    trained = make_output(tmp_path / "b", results.assign(weights="other", setting="two"))
    assert settings_table([first, trained])["weights"] == ["own", "other"]
    decoded = make_output(tmp_path / "e", in_one_pass(results, "TrainedDecoder"))
    table = settings_table([first, decoded])
    assert (table["readout"], table["prior"]) == (["ImageInversion", "TrainedDecoder"], ["Pixels", "–"])
    (said,) = cautions([first, trained])
    assert "different readouts (weights)" in said
    optimizer = {"class": "torch.optim.adamw.AdamW", "lr": 0.01}
    slower = Setting("network", {"optimizer": optimizer}, None, steps=10, precision="32-true")
    first.store.write_setting(Setting("network", {"optimizer": {**optimizer, "lr": 0.1}}, None, 10, "32-true"))
    slow = make_output(tmp_path / "b", results.assign(setting=slower.digest))
    slow.store.write_setting(slower)
    of_first = make_output(tmp_path / "a", results.assign(setting=next((tmp_path / "a" / "settings").iterdir()).stem))
    assert settings_table([of_first, slow])["learning rate"] == ["0.1", "0.01"]
    assert settings_table([of_first, slow])["optimiser"] == ["AdamW", "AdamW"]
    assert "perturbation" not in settings_table([of_first, slow])
    assert "different readouts (learning rate)" in cautions([of_first, slow])[0]
    assert joined_sizes([first, make_output(tmp_path / "b", results)])[0].differences != [None]
    for changed in ({"metric": "ssim"}, {"threshold": 0.2}, {"signal": "class"}):
        assert joined_sizes([first, make_output(tmp_path / "b", results.assign(**changed))])[0].differences == [None]
    texts = make_output(tmp_path / "c", results.assign(metric="token_error_rate", sample="y"))
    said = " ".join(cautions([first, texts]))
    assert "The metrics of d_X differ" in said
    assert "a and c share no input name" in said
    more = make_output(tmp_path / "d", make_results({("early", "x"): KEPT, ("early", "y"): KEPT}))
    assert cautions([first, more]) == ["a and d share 1 of 2 inputs; differences are over those."]
