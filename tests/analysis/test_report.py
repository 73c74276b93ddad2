import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from readout import cli, load_results
from tests.helpers import tiny_config, write_config

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

PROBE = """<script>
const images = [...document.images];
document.title = JSON.stringify({
  pictures: images.length,
  loaded: images.filter(image => image.complete && image.naturalWidth > 0).length,
  figures: document.querySelectorAll("figure svg").length,
  layers: [...document.querySelectorAll("#layers tbody tr td:first-child")].map(cell => cell.textContent),
  outside: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:")),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
});
</script>"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    config = write_config(folder / "config.yaml", tiny_config(folder / "out"))
    assert cli.main(["fit", "--config", str(config)]) == 0
    return folder / "out"


def test_the_page_needs_nothing_but_itself(output: Path) -> None:
    page = (output / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', re.sub(r"<svg.*?</svg>", "", page, flags=re.S))
    assert addresses
    assert all(address.startswith("data:") for address in addresses)


def test_the_page_says_what_was_measured(output: Path) -> None:
    page = (output / "report.html").read_text()
    for row in load_results(output).itertuples():
        assert f"d_X {row.distance:.4f}" in page  # every picture carries its numbers
    assert "class_path: tests.tiny.TinyNet" in page
    assert "TinyNet (own) · Pixels · paper protocol, 10 steps · 2 inputs, 1 draw a level" in page


def test_the_report_is_made_again_from_disk_alone(output: Path) -> None:
    before = (output / "report.html").read_text()
    (output / "report.html").unlink()
    shutil.rmtree(output / "figures")
    assert cli.main(["report", str(output)]) == 0
    assert (output / "report.html").read_text() == before
    assert (output / "figures" / "recovery.svg").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_loads_in_chromium(output: Path, tmp_path: Path) -> None:
    page = (output / "report.html").read_text()
    (tmp_path / "page.html").write_text(page.replace("</body>", PROBE + "</body>"))
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    profile, address = f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()
    done = subprocess.run(
        [str(CHROMIUM), *flags.split(), profile, "--window-size=1000,1200", "--dump-dom", address],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    seen = json.loads(title[1])
    # two layers × two inputs, each the true image and two levels
    assert seen["pictures"] == seen["loaded"] == 12
    assert seen["figures"] == 3
    assert seen["layers"] == ["early", "middle"]
    assert seen["outside"] == []
    assert seen["overflow"] == 0
