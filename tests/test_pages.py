"""Tables of experiments in pages of docs."""

from __future__ import annotations

from pathlib import Path

import pages
import pytest


def test_tables_go_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- results:one -->\nold\n<!-- end -->\nb\n<!-- results:one more -->\n<!-- end -->\nc\n")
    tables = {"one more": ["| x |", "|---|"], "one": ["new"]}
    pages.fill(page, tables)
    whole = "a\n<!-- results:one -->\nnew\n<!-- end -->\nb\n<!-- results:one more -->\n| x |\n|---|\n<!-- end -->\nc\n"
    assert page.read_text() == whole
    pages.fill(page, tables)
    assert page.read_text() == whole
    with pytest.raises(ValueError, match="no place for 'two'"):
        pages.fill(page, {"one": ["newer"], "two": []})
    assert page.read_text() == whole
