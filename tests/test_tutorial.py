"""The tutorial is a program: it runs, writes the figures that it shows, and prints as much as it says it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial.md"


def outputs(text: str) -> list[list[str]]:
    """Lines of every output block, numbers left out: their last digits may differ on another processor."""
    number = re.compile(r"[\s|:-]*-?[0-9a-f.]*[0-9][0-9a-f.]*")  # hashes too
    blocks = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    return [[number.sub(" #", line).strip() for line in block.splitlines()] for block in blocks]


def test_the_tutorial_runs_as_it_is_written(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, str(ROOT / "docs" / "run_page.py"), str(PAGE)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    written, run = outputs(PAGE.read_text(encoding="utf-8")), outputs(done.stdout)
    assert len(run) >= 6 and run == written, "refresh the page: python docs/run_page.py docs/tutorial.md --update"
    assert list(tmp_path.iterdir()) == []
