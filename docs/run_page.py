"""Run the Python blocks of a page in order, as one program, and check or refresh what it shows.

    python docs/run_page.py docs/tutorial.md            # run it, in a scratch folder
    python docs/run_page.py docs/tutorial.md --update   # also put outputs and figures into the page

A ``text`` block that follows a ``python`` block is what that block printed when the page was last updated.
Figures are the files that the page links to with ``![…](…)``; the program writes them by their bare names.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<shown>.*?)```\n)?", re.DOTALL)
FIGURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")


def run_page(page: Path, folder: Path) -> str:
    """Run a page's program in a folder.

    Args:
        page: the Markdown file. folder: the working directory while it runs; figures are left there.

    Returns:
        The page with the outputs of this run.

    Raises:
        FileNotFoundError: the page shows a figure that the program did not write.
    """
    text, space, at = page.read_text(encoding="utf-8"), {"__name__": "__main__"}, 0
    pieces = []
    with contextlib.chdir(folder):
        for block in BLOCK.finditer(text):
            printed = io.StringIO()
            line = text.count("\n", 0, block.start("code"))
            code = compile("\n" * line + block["code"], str(page), "exec")  # errors name the page's own lines
            with contextlib.redirect_stdout(printed):
                exec(code, space)
            pieces += [text[at : block.start()], f"```python\n{block['code']}```\n"]
            if printed.getvalue():
                pieces.append(f"\n```text\n{printed.getvalue().rstrip()}\n```\n")
            at = block.end()
    for target in FIGURE.findall(text):
        if not (folder / Path(target).name).is_file():
            raise FileNotFoundError(f"{page} shows {target}, but its program writes no {Path(target).name}")
    return "".join([*pieces, text[at:]])


def main() -> None:
    """Read the options and run a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--update", action="store_true", help="write outputs and figures into the page")
    options = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    page = options.page.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        text = run_page(page, Path(scratch))
        if options.update:
            page.write_text(text, encoding="utf-8")
            for target in FIGURE.findall(text):
                (page.parent / target).parent.mkdir(exist_ok=True)
                shutil.copy(Path(scratch) / Path(target).name, page.parent / target)
    if not options.update:
        print(text)


if __name__ == "__main__":
    main()
