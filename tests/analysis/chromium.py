"""What Chromium makes of a page."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

WATCH = """<script>
window.errors = [];
addEventListener("error", (event) => errors.push(event.message ?? event.target.src), true);
for (const kind of ["error", "warn"]) console[kind] = (...words) => errors.push(words.join(" "));
</script>"""

PROBE = """<script>
const all = (what, root = document) => [...root.querySelectorAll(what)];
const seen = (what) => all(what).filter((one) => one.checkVisibility());
addEventListener("load", () => {
  const pictures = all("main img");
  parent.document.title = JSON.stringify({
    errors,
    pictures: pictures.length,
    loaded: pictures.filter((image) => image.complete && image.naturalWidth > 0).length,
    outside: performance.getEntriesByType("resource").map((one) => one.name).filter((one) => !one.startsWith("data:")),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    unnamed: all("img").filter((image) => !image.alt && !image.closest("#tip")).length,
    headless: all("table").filter((table) => !table.caption || !table.querySelector("th[scope]")).length,
    paper: getComputedStyle(document.body).backgroundColor,
    ...(() => { STEPS })(),
  });
});
</script>"""


class Look:
    """Looks at pages, each time with a browser of its own.

    Args:
        profile: A folder for what the browser keeps.
    """

    def __init__(self, profile: Path) -> None:
        self.profile = profile

    def __call__(
        self, page: Path, steps: str = "return {}", address: str = "", *flags: str, width: int | None = None
    ) -> dict[str, Any]:
        """What is seen after some steps of a script; nothing may have gone wrong.

        Args:
            page: The page.
            steps: JavaScript that returns an object, which joins what is seen anyway.
            address: What follows the page's address.
            flags: Of the browser.
            width: What the page has to do with, in pixels; that of the window, 1000, if None.
        """
        text = page.read_text().replace("<head>", "<head>" + WATCH)
        # beside the page, so that its links lead where they should
        probed = page.with_name("probed.html")
        text = text.replace("</body>", PROBE.replace("STEPS", steps) + "</body>")
        if width is not None:  # no window is narrower than 500
            text = f'<title></title><iframe style="width: {width}px; border: 0" srcdoc="{html.escape(text)}"></iframe>'
        probed.write_text(text)
        usual = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
        window = ["--window-size=1000,1200", f"--user-data-dir={self.profile}"]
        done = subprocess.run(
            [str(CHROMIUM), *usual.split(), *window, *flags, "--dump-dom", probed.as_uri() + address],
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        title = re.search(r"<title>(.*?)</title>", done.stdout)
        assert title is not None
        found: dict[str, Any] = json.loads(html.unescape(title[1]))
        assert found["errors"] == []
        return found
