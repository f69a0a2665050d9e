"""Views on rows worked out by hand; every registered kind is drawn once."""

from __future__ import annotations

from typing import Any

import pytest

from agentsc.experiment.aggregate import aggregate
from agentsc.experiment.views import VIEWS, Results, brief, judged, readable, shown
from agentsc.experiment.views._style import look
from envs.errors import ConfigError


def row(protocol: str, episode: int, makespan_s: float | None, **changes: Any) -> dict[str, Any]:
    """An episode of two agents for whom 2 s are the least; None is one that failed."""
    done = makespan_s is not None
    return {
        "cell": f"{protocol}-{changes.get('loss', 0)}", "scenario": "circle", "protocol": protocol, "loss": 0,
        "seed": 1, "status": "done", "reason": None, "episode": episode, "success": done, "collision_free": True,
        "agents_at_goal": 2 if done else 1, "agents": 2, "duration_s": makespan_s or 20.0, "collisions": 0,
        "obstacle_contacts": 0, "separation_m": 0.1, "min_separation_m": 0.2, "min_separation_at_ticks_m": 0.2,
        "makespan_s": makespan_s, "flowtime_s": makespan_s and 2 * makespan_s, "flowtime_ratio": 1.1 if done else None,
        "path_length_ratio": 1.0 if done else None, "longest_trip_s": 2.0, "smoothness_m": 0.0, "adherence": 1.0,
        "speed_score": 2.0 / makespan_s if makespan_s else 0.0, "bits": 80 * (episode + 1),
    } | changes  # fmt: skip


ROWS = [
    *(row("a", k, 2.0 + k) for k in range(4)),
    *(row("b", k, 4.0 if k else None) for k in range(4)),
    *(row(name, k, 4.0, loss=0.5) for name in "ab" for k in range(4)),
]
RESULTS = Results(ROWS, ["scenario", "protocol", "loss"])
EXAMPLES: dict[str, dict[str, Any]] = {
    "table": {"rows": ["protocol"], "columns": "loss", "metrics": ["success_rate", "makespan_s"]},
    "lines": {"x": "loss", "y": ["success_rate"]},
    "scatter": {"x": "bits_per_agent_s", "y": "success_rate", "points": ["loss"], "log_x": True},
    "surface": {"x": "loss", "y": "protocol", "metric": "success_rate"},
    "profile": {"strata": ["loss"]},
    "aggregate": {"strata": ["loss"]},
    "comparison": {"reference": "a", "strata": ["loss"]},
}


@pytest.mark.parametrize("kind", list(VIEWS))
def test_every_kind_shows_something_with_its_n(kind: str) -> None:
    assert kind in EXAMPLES, "give the new kind of view an example here"
    found = VIEWS.create(kind, title="T", **EXAMPLES[kind]).render(RESULTS)
    assert found.title == "T" and (found.table is not None or found.figure is not None)
    said = found.caption + (found.table.markdown() if found.table else "")
    assert "n = " in said or "n=" in said or "| n |" in said or "pairs" in said


def test_a_table_spreads_an_axis_and_keeps_failures_in_the_denominator() -> None:
    table = VIEWS.create("table", title="T", **EXAMPLES["table"]).render(RESULTS).table
    assert table.columns == [
        "protocol", "success rate, loss 0", "success rate, loss 0.5", "makespan, s, loss 0", "makespan, s, loss 0.5",
    ]  # fmt: skip
    one = VIEWS.create("table", title="T", rows=["loss"], columns="protocol", metrics=["success_rate"])
    assert one.render(RESULTS).table.columns == ["loss", "a", "b"]
    b = table.rows[1]
    assert b[0].text == "b" and b[1].text.startswith("0.75 [") and b[1].text.endswith("n=4")
    assert b[3].text.endswith("n=3"), "makespan is over the episodes that finished"


def test_scores_of_what_failed_or_was_never_run_are_zero() -> None:
    never = {"cell": "a-0", "scenario": "circle", "protocol": "a", "loss": 0, "seed": 1, "episode": 4,
             "status": "failed", "reason": "impossible", "success": False}  # fmt: skip
    table = VIEWS.create("aggregate", title="T", strata=["loss"], where={"loss": 0}).render(
        Results([*ROWS, never], RESULTS.axes)
    ).table  # fmt: skip
    a, b = table.rows
    assert a[4].text == "5" and a[3].sort == pytest.approx(0.8)
    assert a[2].sort == pytest.approx((1 + 2 / 3 + 0.5 + 0.4 + 0) / 5)
    assert b[2].sort == pytest.approx(3 * 0.5 / 4)
    cell = aggregate([*ROWS[:4], never])[0]
    assert cell["n"] == 5 and cell["failed"] == 1 and cell["metrics"]["success_rate"]["mean"] == 0.8
    assert cell["metrics"]["makespan_s"]["n"] == 4


def test_a_comparison_pairs_episodes_and_corrects_over_the_table() -> None:
    table = VIEWS.create("comparison", title="T", **EXAMPLES["comparison"]).render(RESULTS).table
    first, second = table.rows
    assert first[0].text == "0" and first[1].text == "b" and first[-1].text == "4"
    assert first[2].text == "+0.25" and first[3].text == "1.000"
    gain = (1 - 0 + 2 / 3 - 0.5 + 0.5 - 0.5 + 0.4 - 0.5) / 4
    assert first[4].sort == pytest.approx(gain)
    assert second[4].sort == 0.0 and second[6].sort == 0.5


def test_other_rules_of_success() -> None:
    slow = row("a", 0, 6.0)
    assert not judged(slow, deadline_s=5.0)["success"] and judged(slow, deadline_s=5.0)["speed_score"] == 0.0
    assert judged(slow, deadline_s=6.0)["success"]
    touched = row("a", 0, 4.0, success=False, collision_free=False, speed_score=0.0, min_separation_m=0.09)
    kinder = judged(touched, at_ticks=True)
    assert kinder["success"] and kinder["collision_free"] and kinder["speed_score"] == 0.5
    assert not judged(touched)["success"]
    scraped = touched | {"obstacle_contacts": 1}
    assert not judged(scraped, at_ticks=True)["success"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": ["succes_rate"]}, ("succes_rate", "success_rate")),
        ({"rows": ["protocl"]}, ("protocl", "protocol")),
        ({"where": {"los": 0}}, ("los", "loss")),
    ],
)
def test_a_view_of_what_there_is_not_says_so(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        VIEWS.create("table", title="T", **(EXAMPLES["table"] | changes)).render(RESULTS)
    assert all(word in str(error.value) for word in words)


def test_nothing_to_show_is_said() -> None:
    found = VIEWS.create("table", title="T", where={"loss": 9}, **EXAMPLES["table"]).render(RESULTS)
    assert found.table is None and "No rows" in found.caption


def test_units_change_the_name_and_the_numbers() -> None:
    view = VIEWS.create(
        "table", title="T", rows=["protocol"], metrics=["makespan_s"], where={"loss": 0.5},
        units={"makespan_s": {"name": "makespan, steps", "factor": 12.8}},
    )  # fmt: skip
    table = view.render(RESULTS).table
    assert table.columns[1] == "makespan, steps" and table.rows[0][1].text == "51.2 [51.2, 51.2] n=4"


def test_no_two_labels_look_alike_and_a_protocol_always_looks_the_same() -> None:
    labels = ["mader", "rmader:delay_check_s=0.3125", "orca", "something else", "intent"]
    looks = look(labels)
    assert list(looks) == labels and len({colour for colour, _ in looks.values()}) == len(labels)
    assert look(["orca"])["orca"] == looks["orca"]


def test_columns_have_readable_names() -> None:
    names = ("makespan_s", "delay_ms", "bits_per_agent_s", "success_rate", "agents", "min_separation_m")
    assert [readable(name) for name in names] == [
        "makespan, s", "delay, ms", "bit/s per agent", "success rate", "agents", "min separation, m",
    ]  # fmt: skip


def test_numbers_are_brief() -> None:
    assert [brief(v) for v in (0, 0.5, 0.123456, 1.0, 12.345, 123.4, 999.4, 999.9, 27853.2, -0.01234)] == [
        "0", "0.5", "0.123", "1", "12.3", "123", "999", "1,000", "27,853", "-0.0123",
    ]  # fmt: skip
    assert shown({"mean": None, "ci95": None, "n": 0, "reason": "x"}).text == "–"


def test_a_surface_has_a_panel_and_a_line_for_everything_there_is() -> None:
    wanted = {"x": "loss", "y": "protocol", "metric": "makespan_s"}
    found = VIEWS.create("surface", title="T", **wanted).render(RESULTS)
    (axis, *_) = found.figure.axes
    values = axis.images[0].get_array()
    assert values.shape == (2, 2) and values[0, 0] == pytest.approx(3.5) and values[1, 0] == pytest.approx(4.0)
    assert [entry.text for entry in found.table.rows[0][:2]] == ["a", "0"] and len(found.table.rows) == 4
    in_cells = [text.get_text() for text in axis.texts]
    assert in_cells[0] == "3.5" and in_cells[1].startswith("2") and " – " in in_cells[1], "the value and its interval"
    assert "n = 3 to 4 episodes" in found.caption
    apart = VIEWS.create("surface", title="T", x="loss", y="scenario", metric="success_rate", panels="protocol", low=0)
    shown = apart.render(RESULTS)
    scales = {(axis.images[0].norm.vmin, axis.images[0].norm.vmax) for axis in shown.figure.axes if axis.images}
    assert scales == {(0, 1.0)} and shown.table.columns[0] == "" and len(shown.table.rows) == 4
    empty = VIEWS.create("surface", title="T", **wanted | {"metric": "adherence"})
    nobody = [row | {"adherence": None} for row in ROWS]
    assert empty.render(Results(nobody, RESULTS.axes)).figure is not None
