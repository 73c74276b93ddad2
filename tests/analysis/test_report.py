import html
import re
import shutil
from pathlib import Path

import pytest
import torch

from readout import cli, load_results
from readout.analysis.report import write_report
from readout.representation import linear_size
from readout.store import ResultStore
from readout.sweep import sweep
from tests.analysis.chromium import Look, needs_chromium
from tests.analysis.helpers import in_one_pass, make_output, make_results
from tests.helpers import tiny_config, write_config


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    config = write_config(folder / "config.yaml", tiny_config(folder / "out"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "write_report", write_report)  # tests leave it out elsewhere
        assert cli.main(["fit", "--config", str(config)]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    lost = {(layer, name): (0.0, 0.6) for layer in ("early", "late") for name in ("cat", "dog")}
    make_output(folder / "first", make_results(lost), images=True)
    kept = {("late", name): (0.0, 0.04) for name in ("cat", "dog")}
    make_output(folder / "second", make_results(kept, setting="two", weights="other", weights_digest="1"), images=True)
    assert cli.main(["report", str(folder / "first"), str(folder / "second")]) == 0
    return folder / "comparison.html"


@pytest.fixture(scope="module")
def readouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of an inversion, a decoder and a class readout of the same inputs and layer, on one page."""
    folder = tmp_path_factory.mktemp("readouts")
    lost, kept = ({("early", name): distances for name in ("cat", "dog")} for distances in ((0.0, 0.6), (0.0, 0.04)))
    make_output(folder / "pixels", make_results(lost), images=True)
    make_output(folder / "decoder", in_one_pass(make_results(kept), "TrainedDecoder"), images=True)
    words = in_one_pass(make_results(lost), "ClassReadout", metric="zero_one", threshold=0.5, probability=0.25)
    words = words.assign(
        signal="class", true_class=words["sample"] + " (true)", recovered_class=["cat (true)", "cow"] * 2
    )
    classes = make_output(folder / "classes", words)
    for name in ("cat", "dog"):
        classes.store.save_input(name, torch.rand(3, 8, 8))
    classes.store.append(words, list(torch.rand(len(words), 10)))
    assert cli.main(["report", *(str(folder / name) for name in ("pixels", "decoder", "classes"))]) == 0
    assert cli.main(["report", str(folder / "classes")]) == 0
    return folder


def test_the_page_needs_nothing_but_itself(output: Path) -> None:
    page = re.sub(r"<svg.*?</svg>", "", (output / "report.html").read_text(), flags=re.S)
    loaded = re.findall(r'src="([^"]*)"', page)
    assert loaded
    assert all(address.startswith("data:image/") for address in loaded)
    # links lead to places on the page, or to files beside it
    for address in re.findall(r'href="([^"]*)"', page):
        assert address.startswith("#") or (output / html.unescape(address).replace("%3D", "=")).is_file()
    assert not re.search(r"https?://(?!www\.w3\.org/)", re.sub(r"<details>.*?</details>", "", page, flags=re.S))


def test_the_page_says_what_was_measured(output: Path) -> None:
    page = (output / "report.html").read_text()
    for row in load_results(output).itertuples():
        assert f"d_X {row.distance:.4f}" in page  # every picture carries its numbers
    assert "class_path: tests.tiny.TinyNet" in page
    assert "TinyNet (own) · Pixels · paper protocol, 10 steps · 2 inputs, 1 draw per level" in page


def test_the_report_is_made_again_from_disk_alone(output: Path) -> None:
    before = (output / "report.html").read_text()
    (output / "report.html").unlink()
    shutil.rmtree(output / "figures")
    assert cli.main(["report", str(output)]) == 0
    assert (output / "report.html").read_text() == before
    assert (output / "figures" / "recovery.svg").exists()


def test_a_page_goes_where_it_is_wanted_and_its_links_with_it(output: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "mine.html"
    assert cli.main(["report", str(output), "--output", str(page), "--inputs", "1"]) == 0
    links = re.findall(r'class="cell [^>]*href="([^"]*)"', page.read_text())
    assert len(links) == 4  # two layers, two levels, one input
    assert all((page.parent / link.replace("%3D", "=")).resolve().is_file() for link in links)


def test_verdicts_are_counted_and_told_in_words(compared: Path) -> None:
    page = compared.read_text()
    meanings = dict(re.findall(r'<th scope="row" class="(\w+)">.*?</th><td>(\d+)</td>', page))
    assert meanings == {"recovered": "8", "unrecovered": "4", "not_converged": "0", "failed": "0"}
    assert "for this readout" in page


def test_sizes_of_several_folders_stand_in_one_table(compared: Path) -> None:
    page = compared.read_text()
    joined = page[page.index('<table id="joined">') :]
    late = re.search(r'<th scope="row">late</th>.*', joined)
    assert late is not None
    numbers = re.findall(r"-?\d\.\d\d", re.sub(r'<span class="sub">.*?</span>', "", late[0]))
    assert numbers == ["0.01", "0.01", "0.51", "0.51", "0.50"]  # median and mean of each, and their difference
    assert "different readouts (weights)" in page


def test_the_largest_size_of_each_layer_is_named(readouts: Path, compared: Path) -> None:
    page = (readouts / "comparison.html").read_text()
    table = page[page.index('<table id="frontiers">') :]
    table = table[: table.index("</table>")]
    titles, names = re.findall(r"<tr>.*</tr>", table)[:2]
    assert re.findall(r">([^<>]+)</th>", titles) == [
        "layer",
        "input, correlation_distance &lt; 0.1",
        "class, zero_one &lt; 0.5",
    ]
    row = re.search(r'<tr><th scope="row">early</th>(.*)</tr>', table)
    assert row is not None
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row[1])]
    linear = f"{linear_size(0.1, 2):.2f}"
    # frontier, reached by, Pixels, TrainedDecoder, gap, linear network, Jacobian; then the class readout
    assert re.findall(r'scope="col".*?>([^<]+)</th>', names)[2:4] == ["Pixels", "TrainedDecoder"]
    expected = ["0.51 (2 ≥)", "TrainedDecoder", "0.01", "0.51 (2 ≥)", "-0.50 -0.50 to -0.50", linear, "–", "0.01"]
    assert cells == expected
    assert 'id="frontier"' not in compared.read_text()  # these networks have different weights


def test_words_are_shown_in_place_of_pictures(readouts: Path) -> None:
    page = (readouts / "classes" / "report.html").read_text()
    recoveries = page[page.index('<section id="recoveries">') : page.index('<section id="verdicts">')]
    assert (
        len(re.findall(r'<td class="true"><img src="data:[^"]*" alt="\w+, true"><b>\w+ \(true\)</b>', recoveries)) == 2
    )
    assert re.findall(r"<b>(\w+)</b><span>(\S+)", recoveries) == [("cow", "0.600")] * 2
    assert "Net (own) · ClassReadout · 2 inputs" in page
    # neither loss nor steps
    assert 'id="trajectories"' not in page
    assert "Along the optimisation" not in page
    assert "nan" not in re.sub(r"<(script|style|svg|pre).*?</\1>", "", page, flags=re.S)


@needs_chromium
def test_the_page_of_a_readout_in_one_pass_loads(readouts: Path, look: Look) -> None:
    seen = look(
        readouts / "classes" / "report.html",
        """
        seen(".recoveries .cell")[1].focus();
        return {tip: all("#tip dt").map((one) => one.textContent), dots: all("#recovery-chart .dot").length};
        """,
    )
    assert seen["tip"] == ["verdict", "read", "d_S", "realised d_H", "probability"]
    assert seen["dots"] == 4
    assert (seen["overflow"], seen["unnamed"], seen["headless"]) == (0, 0, 0)


@needs_chromium
def test_readouts_with_and_without_steps_share_a_page(readouts: Path, look: Look) -> None:
    seen = look(
        readouts / "comparison.html",
        """
        return {course: all("#trajectory-charts b").map((one) => one.textContent),
                words: all(".recoveries .cell b").length, figures: seen("#frontier svg").length};
        """,
    )
    assert seen["course"] == ["early, pixels"]
    assert (seen["words"], seen["figures"]) == (4, 1)
    assert (seen["overflow"], seen["unnamed"], seen["headless"]) == (0, 0, 0)


@needs_chromium
def test_the_page_loads_in_chromium(output: Path, look: Look) -> None:
    seen = look(
        output / "report.html",
        """return {
          dots: all("#recovery-chart .dot").length,
          curves: all("#recovery-chart .line").length,
          sizes: all("#sizes-chart .dot").length,
          layers: all("#layers tbody th").map((cell) => cell.textContent),
          figures: seen("figure svg").length,
          shown: seen(".recoveries").map((one) => one.dataset.layer),
        }""",
    )
    # two layers × two inputs, each the true image and two levels
    assert seen["pictures"] == seen["loaded"] == 12
    assert (seen["dots"], seen["curves"], seen["sizes"]) == (8, 2, 4)
    assert seen["figures"] == 0  # those are for paper, and where no script runs
    assert seen["layers"] == ["early", "middle"]
    assert seen["shown"] == ["early"]
    assert seen["outside"] == []
    assert seen["overflow"] == 0
    assert (seen["unnamed"], seen["headless"]) == (0, 0)


@needs_chromium
def test_the_address_chooses_a_layer_and_hides_curves(output: Path, look: Look) -> None:
    seen = look(
        output / "report.html",
        """return {
          shown: seen(".recoveries").map((one) => one.dataset.layer),
          chosen: all("[name=layer]:checked").map((one) => one.value),
          hidden: all("#recovery-chart .series").map((one) => one.style.display === "none"),
          course: all("#trajectory-charts b").map((one) => one.textContent),
        }""",
        "#layer=middle&hide=0",
    )
    assert seen["shown"] == seen["chosen"] == seen["course"] == ["middle"]
    assert seen["hidden"] == [True, False]


@needs_chromium
def test_layers_are_switched_chosen_and_pointed_at(output: Path, look: Look) -> None:
    row = load_results(output).query("layer == 'middle' and level == 0.5").iloc[0]
    seen = look(
        output / "report.html",
        """
        all("#legend input")[1].click();
        const without = all("#recovery-chart .series").map((one) => one.style.display === "none");
        all("[name=layer]")[1].click();
        const chart = document.getElementById("recovery-chart");
        chart.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
        const mean = document.getElementById("tip").textContent;
        const cell = seen(".recoveries .cell")[0];
        cell.focus();
        cell.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
        const tip = document.getElementById("tip");
        return {without, mean, tip: tip.textContent, pair: all("#tip img").length, address: location.hash,
                focused: document.activeElement.dataset.problem};
        """,
    )
    assert seen["without"] == [False, True]
    assert seen["address"] == "#layer=middle&hide=1"
    assert seen["mean"].startswith("mean at early, level 0")
    assert f"{row['sample']} from middle at level 0.5" in seen["tip"]
    assert f"d_X{row['distance']:.3g}"[:-1] in seen["tip"]
    assert seen["pair"] == 2


@needs_chromium
def test_folders_are_drawn_over_each_other(compared: Path, look: Look) -> None:
    seen = look(
        compared,
        """return {
          curves: all("#recovery-chart .line").map((one) => one.getAttribute("stroke-dasharray")),
          legend: all("#legend tr").map((row) => row.querySelectorAll("input").length),
          rows: seen(".recoveries tbody tr").map((row) => row.cells[0].textContent),
        }""",
        "#layer=late",
    )
    assert seen["curves"] == ["none", "none", "7 4"]
    assert seen["legend"] == [0, 1, 2]
    assert seen["rows"] == ["catfirst", "catsecond", "dogfirst", "dogsecond"]
    assert (seen["overflow"], seen["unnamed"], seen["headless"]) == (0, 0, 0)


@needs_chromium
def test_what_the_page_does_not_hold_is_shown_from_its_files(compared: Path, look: Look) -> None:
    page = compared.with_name("short.html")
    folders = [str(compared.parent / name) for name in ("first", "second")]
    assert cli.main(["report", *folders, "--output", str(page), "--inputs", "1"]) == 0
    seen = look(
        page,
        """
        const before = seen(".cell").length;
        const words = document.getElementById("more").textContent;
        document.getElementById("more").click();
        const sources = all("#others img").map((one) => one.getAttribute("src"));
        return {before, words, sources, after: seen(".cell").length};
        """,
        "#layer=late",
    )
    assert (seen["before"], seen["after"]) == (4, 8)
    assert seen["words"] == "Show 4 more recoveries of late, from their files"
    assert seen["sources"][0] == "first/inputs/dog.png"
    assert all((page.parent / source.replace("%3D", "=")).is_file() for source in seen["sources"])


@needs_chromium
def test_light_and_dark(output: Path, look: Look) -> None:
    page = output / "report.html"
    click = 'document.getElementById("theme").click(); return {after: getComputedStyle(document.body).backgroundColor}'
    light = look(page, click)
    dark = look(page, "return {}", "", "--force-dark-mode")
    assert light["paper"] != light["after"] == dark["paper"]


@needs_chromium
def test_without_a_script_figures_and_all_recoveries_are_there(output: Path, look: Look, tmp_path: Path) -> None:
    page = output.parent / "plain.html"
    page.write_text(re.sub(r"<script>.*?</script>", "", (output / "report.html").read_text(), flags=re.S))
    seen = look(
        page,
        """return {
          figures: seen("figure svg").length, shown: seen(".recoveries").length, controls: seen(".live").length,
          titled: all(".cell[title]").length,
        }""",
    )
    assert (seen["figures"], seen["shown"], seen["controls"], seen["titled"]) == (3, 2, 0, 8)


@needs_chromium
def test_a_printed_page_shows_all_layers_and_no_controls(output: Path, look: Look) -> None:
    page = output.parent / "printed.html"
    # the rules for paper, on the screen
    page.write_text((output / "report.html").read_text().replace("@media print", "@media all"))
    seen = look(
        page,
        """return {
          shown: seen(".recoveries").length, figures: seen("figure svg").length,
          controls: seen("button:not(th *), .controls, #layer-choice, .legend input").map((one) => one.outerHTML),
        }""",
        "",
        "--force-dark-mode",
    )
    assert (seen["shown"], seen["figures"], seen["controls"]) == (2, 1, [])
    assert seen["paper"] == "rgb(255, 255, 255)"


class TestBadInput:
    """One clear sentence, exit code 2, no traceback."""

    def said(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
        assert cli.main(["report", *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    def test_a_folder_without_results(self, compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        line = self.said([str(compared.parent / "first"), str(tmp_path)], capsys)
        assert f"{str(tmp_path)!r} holds no results" in line

    def test_the_same_folder_twice(self, compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
        first = compared.parent / "first"
        assert "was given twice" in self.said([str(first), f"{first.parent}/./first/"], capsys)

    def test_a_folder_as_the_page(self, compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        first = str(compared.parent / "first")
        assert "is a folder; give the page's file" in self.said([first, "--output", str(tmp_path)], capsys)

    def test_no_inputs(self, compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--inputs is 0" in self.said([str(compared.parent / "first"), "--inputs", "0"], capsys)

    def test_features_that_were_given(self, compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        given = make_results({("early", "x"): (0.0, 0.1)}).assign(level=float("nan"))
        ResultStore(tmp_path / "given").append(given, torch.zeros(len(given), 3, 8, 8))
        line = self.said([str(compared.parent / "first"), str(tmp_path / "given")], capsys)
        assert "holds external features" in line
        assert "--output and --inputs are for sweeps" in self.said([str(tmp_path / "given"), "--inputs", "2"], capsys)
