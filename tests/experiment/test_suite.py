"""Suites: what a matrix expands to, and mistakes that are found before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agentsc.experiment.suite import load_suite, plan
from agentsc.experiment.suites import SUITES
from envs.errors import ConfigError

BASE: dict[str, Any] = {
    "title": "t", "question": "q", "seeds": 3,
    "matrix": [{"axes": {"scenario": ["circle"], "agents": [3, 4], "protocol": ["orca", "silent"]}}],
}  # fmt: skip


def suite(**changes: Any) -> dict[str, Any]:
    return BASE | changes


def matrix(**axes: Any) -> dict[str, Any]:
    return suite(matrix=[{"axes": axes}])


@pytest.mark.parametrize("name", list(SUITES))
def test_every_suite_that_ships_resolves(name: str) -> None:
    todo = plan(name)
    assert todo.name == name and todo.cells and todo.suite.views
    assert len({cell.key for cell in todo.cells}) == len(todo.cells)


def test_files_on_disk_are_the_suites() -> None:
    names = [row["name"] for row in SUITES.describe()]
    assert names == list(SUITES) and {"smoke", "mmd-scenes", "loss-delay", "bits-vs-success"} <= set(names)


def test_a_block_is_the_product_of_its_axes() -> None:
    cells = plan(BASE).cells
    assert [cell.labels for cell in cells] == [
        {"scenario": "circle", "agents": agents, "protocol": protocol}
        for agents in (3, 4)
        for protocol in ("orca", "silent")
    ]
    assert cells[3].config.scenario.parameters["agents"] == 4 and cells[3].config.protocol.name == "silent"


def test_the_order_of_axes_orders_the_cells_and_nothing_else() -> None:
    axes = BASE["matrix"][0]["axes"]
    turned = plan(suite(matrix=[{"axes": dict(reversed(axes.items()))}]))
    assert {cell.key for cell in turned.cells} == {cell.key for cell in plan(BASE).cells}
    assert [cell.labels["protocol"] for cell in turned.cells] == ["orca"] * 2 + ["silent"] * 2


def test_skipped_combinations_and_equal_cells_are_left_out() -> None:
    axes = BASE["matrix"][0]["axes"]
    todo = plan(suite(matrix=[{"axes": axes, "skip": [{"agents": 4, "protocol": ["silent"]}]}, {"axes": axes}]))
    assert [c.labels["agents"] for c in todo.cells] == [3, 3, 4, 4]
    assert len(plan(suite(matrix=[{"axes": axes, "skip": [{"agents": 4}]}])).cells) == 2


def test_links_of_several_axes_compose() -> None:
    todo = plan(
        matrix(
            scenario=["circle"], protocol=["orca"],
            loss={0: {"link": "perfect"}, 0.5: {"link": "erasure:p=0.5"}},
            delay_ms={0: {}, 100: {"link": "delay:ms=100"}},
        )
    )  # fmt: skip
    assert [cell.config.link for cell in todo.cells] == [
        "perfect", "delay:ms=100", "erasure:p=0.5", "erasure:p=0.5+delay:ms=100",
    ]  # fmt: skip
    assert todo.cells[3].columns["loss"] == 0.5 and todo.cells[3].columns["delay_ms"] == 100


def test_a_plugin_with_parameters_is_labelled_by_them() -> None:
    cell = plan(matrix(scenario=["circle"], protocol=[{"name": "orca", "inflation": 1.2}])).cells[0]
    assert cell.labels["protocol"] == "orca:inflation=1.2" and cell.config.protocol.parameters["inflation"] == 1.2


def test_the_key_knows_everything_that_decides_a_result_and_nothing_else() -> None:
    key = plan(BASE).cells[0].key
    assert plan(suite(seeds=9)).cells[0].key == key
    assert plan(suite(title="other", views=[])).cells[0].key == key
    assert plan(suite(base={"seed": 5})).cells[0].key != key
    assert plan(BASE, overrides=["rounds_per_tick=3"]).cells[0].key != key
    # An option that came later enters a key only where it differs from what held before.
    assert plan(BASE, overrides=["prior.steps=5"]).cells[0].key == key
    assert plan(BASE, overrides=["prior.steps=2"]).cells[0].key != key


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (suite(sedes=3), ("sedes", "seeds")),
        (suite(matrix=[]), ("matrix",)),
        ({"title": "t", "matrix": BASE["matrix"]}, ("question", "missing")),
        (suite(seeds=0), ("seeds", "0")),
        (suite(matrix=[{"axs": {}}]), ("axs", "axes")),
        (matrix(scenario=["circel"]), ("circel", "circle", "matrix[0]")),
        (matrix(scenario=["circle"], protocol=["orka"]), ("orka", "orca")),
        (matrix(scenario=["circle"], protocl=["orca"]), ("protocl", "protocol")),
        (matrix(scenario=["circle"], protocol=[{"name": "orca", "inflaton": 1.0}]), ("inflaton", "inflation")),
        (matrix(scenario=["circle"], link=["erasure:p=1.4"]), ("p", "1.4")),
        (matrix(scenario=["circle"], makespan_s={1: {}}), ("makespan_s", "metric")),
        (matrix(scenario=["circle"], speed={1: 5}), ("speed", "mapping")),
        (matrix(scenario=[]), ("scenario", "at least one")),
        (suite(base={"sed": 1}), ("sed", "seed")),
        (suite(base={"backend": "ray"}), ("backend", "local")),
        (suite(base={"episodes": 4}), ("episodes", "seeds")),
        (suite(views=[{"title": "x"}]), ("views[0]", "kind")),
        (suite(views=[{"kind": "tabel", "title": "x"}]), ("tabel", "table")),
        (suite(views=[{"kind": "lines", "title": "x", "x": "loss", "y": ["bits"], "lgo_y": []}]), ("lgo_y", "log_y")),
        (suite(matrix=[{"axes": {"scenario": ["circle"]}, "skip": [{"agnets": 3}]}]), ("agnets",)),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_anything_runs(tree: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        plan(tree)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_file_is_a_suite_and_an_unknown_name_offers_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(BASE))
    assert load_suite(path)[0] == "mine"
    with pytest.raises(ConfigError, match="smoke"):
        load_suite("smok")
    with pytest.raises(ConfigError, match="readable YAML"):
        load_suite(tmp_path / "absent.yaml")
