"""Who may import whom, what is loaded when, and that the package declares what it uses."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"envs": {"envs"}, "policies": {"envs", "policies"}, "agentsc": {"envs", "policies", "agentsc"}}
"""Room → rooms that it may import."""
NAMED_OTHERWISE = {"rerun": ["rerun-sdk"], "sionna": ["sionna-no-rt"]}
"""Import name → distribution, of optional libraries that may not be installed."""
PURE_ENVS = {"camera", "compiled", "errors", "geometry", "keyed", "maps", "navigation", "registry", "scenery"}
PURE_ENVS |= {"unknown"}
"""What the policies may see of the world."""


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Absolute names imported by a file; if asked for, only those that run when it is imported."""
    waiting: list[ast.AST] = [_tree(path)]
    while waiting:
        node = waiting.pop()
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _type_checking(
            node
        )
        if at_import and deferred:
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name"
            assert all(alias.name != "*" for alias in node.names), f"{path}: no wildcard imports"
            assert node.module is not None
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if _exists(submodule) else node.module


def _exists(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md")))]
EVERY_FILE = [path for room in ROOMS for path in files(room)]


@pytest.mark.parametrize("path", EVERY_FILE, ids=module)
def test_rooms_only_look_down(path: Path) -> None:
    room = module(path).split(".")[0]
    for name in imports(path):
        top, *rest = name.split(".")
        if top in ROOMS:
            assert top in ROOMS[room], (
                f"{module(path)} imports {name}: {room} may import {sorted(ROOMS[room])}"
            )
            if room == "policies" and top == "envs":
                assert rest and rest[0] in PURE_ENVS, (
                    f"{module(path)} imports {name}: only {sorted(PURE_ENVS)}"
                )


def test_no_import_cycles() -> None:
    names = {module(path): path for path in EVERY_FILE}
    graph = {
        name: {n for n in imports(path, at_import=True) if n in names} - {name}
        for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "import cycle: " + " → ".join([*path[path.index(name) :], name])
        if name not in done:
            for below in sorted(graph[name]):
                visit(below, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("path", EVERY_FILE, ids=module)
def test_every_module_is_in_a_package_and_says_what_it_is(path: Path) -> None:
    assert (path.parent / "__init__.py").is_file(), f"{path.parent} needs an __init__.py to be installed"
    assert ast.get_docstring(_tree(path)) or not _tree(path).body, f"{module(path)} has no docstring"


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import sys; from agentsc.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
         ("torch", "ray", "numpy", "numba", "pydantic", "pygame", "polars", "scipy", "pettingzoo", "networkx")),
        ("import sys, agentsc", ("torch", "ray", "numpy", "numba", "pydantic")),
        ("import sys, agentsc.experiment.run", ("torch", "ray", "numba", "pygame", "polars", "pettingzoo", "networkx")),
    ],
    ids=["help", "import agentsc", "import agentsc.experiment.run"],
)  # fmt: skip
def test_heavy_libraries_wait_until_they_are_needed(code: str, banned: tuple[str, ...]) -> None:
    code += "\nprint(sorted(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(ast.literal_eval(done.stderr.strip().splitlines()[-1]))
    assert not loaded & set(banned)


def test_every_library_used_is_declared_and_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = (r for extra in ("film", "rllib", "rerun", "tensorboard", "phy") for r in extras[extra])
    declared = {_name(r) for r in [*project["dependencies"], *optional]}
    pinned = {_name(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    owners = packages_distributions()
    for path in EVERY_FILE:
        for name in imports(path):
            top = name.split(".")[0]
            if top in ROOMS or top in sys.stdlib_module_names:
                continue
            found = {_name(owner) for owner in owners.get(top, NAMED_OTHERWISE.get(top, [top]))}
            assert found & declared, f"{module(path)} imports {top}: declare it in pyproject.toml"
    everything = {_name(r) for rs in [project["dependencies"], *extras.values()] for r in rs} - {"agentsc"}
    assert everything <= pinned, f"pin in constraints.txt: {sorted(everything - pinned)}"
    assert "+" not in (ROOT / "constraints.txt").read_text(), (
        "a local version suffix cannot be installed elsewhere"
    )


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_the_readme_and_ci_agree_on_the_commands() -> None:
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    first_screen = readme.splitlines()[:30]
    assert "make demo" in first_screen and "make test" in first_screen
    assert any(line.startswith("![") for line in first_screen)
    assert "make test" in ci and "make lint types" in ci
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"setup", "demo", "test", "lint", "types"} <= set(targets)


@pytest.mark.parametrize("page", PAGES)
def test_links_in_the_docs_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


EXAMPLES = ["extending.md", "guidance.md", "engine.md", "radio.md", "access.md", "topology.md", "semantic.md",
            "perceive.md"]  # fmt: skip


@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_in_the_docs_run(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert blocks
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_every_python_call_is_there_whatever_was_imported_before() -> None:
    code = "import agentsc, agentsc.view.live\nfor n in agentsc.__all__: assert callable(getattr(agentsc, n))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
