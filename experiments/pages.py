"""Tables that experiments write into pages of docs, each between its marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def fill(page: Path, tables: Mapping[str, Sequence[str]]) -> None:
    """Put lines between ``<!-- results:NAME -->`` and the ``<!-- end -->`` after it.

    Args:
        page: a Markdown file that has a place for each of the tables. tables: name → lines.

    Raises:
        ValueError: it has no such place; nothing was written.
    """
    text = page.read_text(encoding="utf-8")
    for name, lines in tables.items():
        mark, end = f"<!-- results:{name} -->\n", "<!-- end -->"
        before, opened, rest = text.partition(mark)
        _, closed, after = rest.partition(end)
        if not (opened and closed):
            raise ValueError(f"{page.name} has no place for {name!r} (a line {mark.strip()} and one {end})")
        text = before + mark + "".join(f"{line}\n" for line in lines) + end + after
    page.write_text(text, encoding="utf-8")
