"""The report in a real browser: no console message, figures with a size, tables that sort."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentsc.experiment.bench import bench

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), None)
SUITE: dict[str, Any] = {
    "title": "Small", "question": "Does the page work?", "seeds": 2,
    "matrix": [{"axes": {"scenario": ["circle", "weave"], "agents": [3, 10], "protocol": ["orca"]}}],
    "views": [
        {"kind": "table", "title": "T <&>", "rows": ["scenario", "agents"], "metrics": ["packets_per_agent_s"]},
        {"kind": "lines", "title": "L", "x": "agents", "y": ["success_rate", "makespan_s"]},
    ],
}  # fmt: skip
PROBE = """
<script>
window.addEventListener("load", () => {
  const table = document.getElementById("table-1");
  const column = k => Array.from(table.tBodies[0].rows, r => r.cells[k].textContent);
  const found = {before: column(1)};
  table.tHead.rows[0].cells[1].click(); found.up = column(1);
  table.tHead.rows[0].cells[1].click(); found.down = column(1);
  table.tHead.rows[0].cells[0].dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"})); found.text = column(0);
  found.figures = Array.from(document.querySelectorAll("figure svg"), s => [s.clientWidth, s.clientHeight]);
  found.sorts = table.tHead.rows[0].cells[0].getAttribute("aria-sort");
  document.body.insertAdjacentHTML("beforeend", "<pre id='probe'>" + JSON.stringify(found) + "</pre>");
});
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "b"
    bench(SUITE, out=folder, workers=0)
    return folder / "report.html"


def test_text_is_escaped(page: Path) -> None:
    assert "T &lt;&amp;&gt;" in page.read_text() and "T <&>" not in page.read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_works_in_a_browser_without_network(page: Path, tmp_path: Path) -> None:
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--host-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--window-size=1280,2000",
            "--virtual-time-budget=3000", "--dump-dom", probed.as_uri(),
        ], capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    found = json.loads(re.search(r"<pre id=\"probe\">(.*?)</pre>", done.stdout, re.DOTALL)[1])
    assert found["before"] == ["3", "10", "3", "10"]
    assert found["up"] == ["3", "3", "10", "10"] and found["down"] == ["10", "10", "3", "3"], "numbers, not text"
    assert found["text"] == ["circle", "circle", "weave", "weave"] and found["sorts"] == "ascending"
    assert len(found["figures"]) == 1 and all(w > 300 and h > 150 for w, h in found["figures"])
