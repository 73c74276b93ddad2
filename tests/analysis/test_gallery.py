import base64
import io
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
from PIL import Image

from readout.analysis import gallery
from readout.analysis.gallery import (
    THUMBNAIL,
    addresses,
    input_addresses,
    samples_on_page,
    sections,
    shown_samples,
    thumbnail,
)
from tests.analysis.helpers import in_one_pass, make_output, make_results


def test_a_page_holds_as_many_inputs_as_fit_and_at_least_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = make_results({(layer, name): (0.0, 0.1) for layer in ("early", "late") for name in "abcd"})
    output = make_output(tmp_path, results)
    assert samples_on_page([output]) == ["a", "b", "c", "d"]
    monkeypatch.setattr(gallery, "MOST_ON_PAGE", 12)  # two layers, two levels and the true one: six an input
    assert samples_on_page([output]) == ["a", "b"]
    assert samples_on_page([output], wanted=3) == ["a", "b", "c"]
    monkeypatch.setattr(gallery, "MOST_ON_PAGE", 1)
    assert samples_on_page([output]) == ["a"]
    assert shown_samples("dbca", layers=2, levels=2) == ["a"]  # known before the sweep
    monkeypatch.setattr(gallery, "MOST_ON_PAGE", 12)
    assert shown_samples("dbca", layers=2, levels=2) == ["a", "b"]
    # of several folders, what all of them have comes first
    other = make_output(tmp_path, results[results["sample"] == "c"])
    assert samples_on_page([output, other]) == ["c"]
    assert samples_on_page([output, other], wanted=3) == ["c", "a", "b"]


def test_recoveries_stand_layer_by_layer_and_input_by_input(tmp_path: Path) -> None:
    results = make_results({(layer, name): (0.0, 0.1) for layer in ("early", "late") for name in "ab"})
    first = make_output(tmp_path / "first", results, images=True)
    second = make_output(tmp_path / "second", results[results["layer"] == "late"].reset_index(drop=True), images=True)
    outputs = [first, second]
    early, late = sections(outputs, [first.results, second.results], ["b", "a"], [{results["key"][0]: "file.png"}, {}])
    assert (early.layer, early.kind, early.levels) == ("early", "pictures", [0.0, 0.5])
    assert [(row.sample, row.output) for row in early.rows] == [("b", "first"), ("a", "first")]
    assert [(row.sample, row.output) for row in late.rows] == [
        ("b", "first"),
        ("b", "second"),
        ("a", "first"),
        ("a", "second"),
    ]
    assert early.rows[1].cells[0.0]["file"] == "file.png"
    # places among the problems of all folders
    assert [cell["index"] for cell in early.rows[1].cells.values()] == [0, 1]
    assert [cell["index"] for cell in late.rows[3].cells.values()] == [8, 9]


def test_files_are_addressed_from_where_the_page_is(tmp_path: Path) -> None:
    output = make_output(tmp_path / "a run", make_results({("early", "x"): (0.0, 0.1)}), images=True)
    page = tmp_path / "pages"
    found = addresses(output, output.results, page)
    assert set(found) == set(output.results["key"])
    first = found[output.results["key"][0]]
    assert first == "../a%20run/recovered/early/x/level%3D0.0_draw%3D0.png"
    assert (page / unquote(first)).resolve().is_file()
    assert input_addresses(output, output.results, output.store.folder) == {"x": "inputs/x.png"}


def test_a_file_that_another_setting_may_have_overwritten_is_not_shown(tmp_path: Path) -> None:
    results = make_results({("early", "x"): (0.0, 0.1), ("late", "x"): (0.0, 0.1)})
    output = make_output(tmp_path, results, images=True)
    assert len(addresses(output, results, tmp_path)) == 4
    make_output(tmp_path, make_results({("early", "x"): (0.0, 0.1)}, setting="two"), images=True)
    output.store.reread()
    assert set(addresses(output, results, tmp_path)) == set(results["key"][results["layer"] == "late"])
    (tmp_path / "recovered" / "late" / "x" / "level=0.5_draw=0.png").unlink()
    assert len(addresses(output, results, tmp_path)) == 1


def test_words_stand_in_place_of_pictures_beside_the_true_one(tmp_path: Path) -> None:
    results = in_one_pass(make_results({("early", "x"): (0.0, 1.0)}), "ClassReadout")
    results = results.assign(signal="class", true_class="cat", recovered_class=["cat", "dog"])
    output = make_output(tmp_path, results)
    (without,) = sections([output], [results], ["x"], [{}])
    assert (without.kind, without.rows[0].true, without.rows[0].word) == ("pictures", None, "cat")
    output.store.save_input("x", torch.rand(3, 8, 8))
    output.store.append(results, [torch.tensor([0.0]), torch.tensor([1.0])])  # scores are no pictures
    (section,) = sections([output], [results], ["x"], [{}])
    (row,) = section.rows
    assert row.true is not None
    assert row.true.startswith("data:image/")
    assert [cell["word"] for cell in row.cells.values()] == ["cat", "dog"]
    assert not any("picture" in cell for cell in row.cells.values())


def test_a_candidate_is_called_by_its_name(tmp_path: Path) -> None:
    results = in_one_pass(make_results({("early", "x"): (0.0, 1.0)}), "Identification")
    results = results.assign(signal="candidate", recovered_sample=["x", "y"])
    (section,) = sections([make_output(tmp_path, results)], [results], ["x"], [{}])
    assert section.rows[0].word == "x"
    assert [cell["word"] for cell in section.rows[0].cells.values()] == ["x", "y"]


@pytest.mark.parametrize("side", [8, 300])
def test_a_thumbnail_is_no_larger_than_a_page_needs(side: int) -> None:
    image = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    kind, data = thumbnail(image).removeprefix("data:image/").split(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.size == (min(side, THUMBNAIL),) * 2
    assert picture.format == kind.upper()
    assert len(data) < 20_000


def test_texts_are_marked_and_never_taken_for_html(tmp_path: Path) -> None:
    results = make_results({("early", "x"): (0.0, 0.5)})
    results = results.assign(true_text="a <b>", recovered_text="a <i>")
    (whole,) = sections([make_output(tmp_path, results)], [results], ["x"], [{}])
    assert (whole.kind, whole.rows[0].true) == ("texts", "a <b>")
    assert whole.rows[0].cells[0.5]["marked"] == "a &lt;i&gt;"
    results["true_tokens"], results["recovered_tokens"] = [["a", " <b>"]] * 2, [["a", " <i>"]] * 2
    results["wrong_tokens"] = [[], [1]]
    (tokens,) = sections([make_output(tmp_path, results)], [results], ["x"], [{}])
    assert tokens.rows[0].cells[0.5]["marked"] == 'a <mark title="true: &lt;b&gt;">&lt;i&gt;</mark>'
