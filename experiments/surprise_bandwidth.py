"""Does bandwidth scale with surprise, and not with the size of the fleet?

    python experiments/surprise_bandwidth.py      # half an hour on one core; done cells are kept, --again redoes them

The claim is that of the seed paper on intent exchange. Surprise here is what an agent alone decides and nobody can
foresee: its goal changes, `rate` times per agent and minute, to a place within 1 m of the last one. Agents are discs
of 0.05 m at up to 0.64 m/s in an open square that holds 0.25 m² per agent whatever their number, so all sizes of
fleet are as dense. All runs last 20 s, the first agreement included; perfect link, two message rounds per tick of
5/64 s; seed 2026, the same episodes in every cell.

*Size*: 4 to 64 agents at 6 changes per agent and minute. *Surprise*: 16 agents at 0 to 24. *Trigger*: the same with
protocols that speak every round (`always`) or, besides the news, once a second (`periodic`). *Slope in size*: b of
bits ~ N^b (least squares on logarithms): 0 if bandwidth per agent does not depend on the fleet, 1 if everybody says so
much more as there are more to say it to. *Slope in surprise*: c of bits = a + c · rate. Intervals: 95 % bootstrap
over episodes.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsc.experiment.config import resolve
from agentsc.experiment.metrics import lane_rows
from agentsc.experiment.runner import run_lanes
from agentsc.experiment.statistics import percentile_interval, resamples
from envs.events import GOAL, Events
from envs.geometry import Obstacles
from envs.keyed import stream_id, uniform
from envs.world import World

OUT = Path(__file__).parent / "results" / "surprise-bandwidth"
SEED, EPISODES = 2026, 10
TICKS, DT = 256, 5 / 64
AREA, RADIUS, SPACING, STRAY = 0.25, 0.05, 0.15, 1.0
"""Square metres per agent; metres: an agent's radius, least gap of starts and of goals, how far a new goal may be."""
SIZES, RATES = (4, 8, 16, 32, 64), (0.0, 3.0, 6.0, 12.0, 24.0)
SIZE, RATE = 16, 6.0
ABLATED = (0.0, 6.0, 24.0)
"""Rates at which the other triggers are measured."""
PROTOCOLS, TRIGGERS = ("intent", "negotiated"), ("surprise", "periodic", "always")


class Cell(NamedTuple):
    """What differs between runs."""

    protocol: str
    agents: int
    rate: float
    trigger: str


def rates_of(trigger: str) -> tuple[float, ...]:
    """Rates at which a trigger is measured."""
    return RATES if trigger == "surprise" else ABLATED


def cells() -> list[Cell]:
    """All of them, each once, those that make up the slopes in size first."""
    found = [Cell(p, n, RATE, "surprise") for n in SIZES for p in PROTOCOLS]
    found += [Cell(p, SIZE, r, t) for t in TRIGGERS for r in rates_of(t) for p in PROTOCOLS]
    return list(dict.fromkeys(found))


# -- the world ---------------------------------------------------------------------------------------


def spot(key: tuple[int, ...], half: float, others: NDArray, near: NDArray | None = None) -> NDArray[np.float32]:
    """A place [2] in the square, the spacing away from others [n, 2], within `STRAY` of ``near`` if that is given."""
    for attempt in range(1 << 12):
        draw = 2.0 * uniform(*key, attempt, np.arange(2)) - 1.0
        place = draw * (half - 2 * RADIUS) if near is None else near + draw * STRAY
        inside = np.abs(place).max() <= half - 2 * RADIUS
        if inside and (np.linalg.norm(others - place, axis=-1) >= SPACING).all():
            return place.astype(np.float32)
    raise RuntimeError("no room: agents are too dense")


def world_of(agents: int, rate: float, episodes: int) -> World:
    """Episodes of a fleet whose goals change."""
    half = 0.5 * float(np.sqrt(AREA * agents))
    starts, goals = np.zeros((2, episodes, agents, 2), np.float32)
    rows: list[tuple[float, ...]] = []
    for lane in range(episodes):
        for what, places in (("start", starts), ("goal", goals)):
            for agent in range(agents):
                key = (SEED, stream_id(f"surprise-bandwidth.{what}"), lane, agent)
                near = starts[lane, agent] if what == "goal" else None
                places[lane, agent] = spot(key, half, places[lane, :agent], near)
        changes = []
        for agent in range(agents):
            # Exponential gaps, as of things that happen independently of each other.
            gaps = -np.log1p(-uniform(SEED, stream_id("surprise-bandwidth.when"), lane, agent, np.arange(64)))
            when = np.cumsum(gaps) * 60.0 / rate / DT if rate else np.zeros(0)
            changes += [(int(tick), agent) for tick in when if 1 <= tick < TICKS - 1]
        current = goals[lane].copy()
        for number, (tick, agent) in enumerate(sorted(changes)):
            key = (SEED, stream_id("surprise-bandwidth.change"), lane, number)
            current[agent] = spot(key, half, np.delete(current, agent, 0), current[agent])
            rows.append((tick, lane, agent, *current[agent].tolist()))
        # Nothing changes at the end, but until then the lane goes on.
        rows.append((TICKS - 1, lane, 0, *current[0].tolist()))
    table = np.array(rows, np.float64)
    tick, lane_of, agent_of = table[:, :3].T.astype(np.int64)
    events = Events(
        tick, lane_of, np.full(len(rows), GOAL), agent_of, table[:, 3:].astype(np.float32),
        np.zeros((episodes, 0, 5), np.float32),
    )  # fmt: skip
    return World(
        name="surprise-bandwidth", obstacles=Obstacles((), (-half, -half, half, half), cutoff=1.0), radius=RADIUS,
        v_max=0.64, a_max=np.inf, dt=DT, dynamics="single", goal_tolerance=RADIUS, separation=2 * RADIUS,
        max_ticks=TICKS, cell=2 * RADIUS, starts=starts, goals=goals, episodes=np.arange(episodes), events=events,
    )  # fmt: skip


# -- runs --------------------------------------------------------------------------------------------

COLUMNS = (
    *("protocol", "agents", "rate", "trigger", "episode", "changes", "duration_s", "bits", "packets", "commits"),
    *("at_goal", "collisions"),
)


def fly(cell: Cell, episodes: int = EPISODES) -> list[dict[str, Any]]:
    """One row per episode."""
    world = world_of(cell.agents, cell.rate, episodes)
    protocol = {"name": cell.protocol, "trigger": cell.trigger}
    config = resolve({"protocol": protocol, "link": "perfect", "seed": SEED, "device": "cpu"})
    rows = lane_rows(run_lanes(config, world))
    assert world.events is not None
    changes = np.bincount(world.events.lane, minlength=episodes) - 1
    return [
        {
            **cell._asdict(), "episode": row["episode"], "changes": int(changes[lane]), "duration_s": row["duration_s"],
            "bits": row["bits"], "packets": row["packets"], "commits": row["commits"],
            "at_goal": row["agents_at_goal"], "collisions": row["collisions"],
        }
        for lane, row in enumerate(rows)
    ]  # fmt: skip


def collect(out: Path, again: bool) -> None:
    """All cells that are not there yet."""
    path = out / "rows.csv"
    kept = [] if again or not path.exists() else read(path)
    done = {cell_of(row) for row in kept}
    for cell in cells():
        if cell not in done:
            kept += fly(cell)
            some = [row for row in kept if cell_of(row) == cell]
            print(f"{cell}: {np.mean([per_agent(row) for row in some]):.0f} bits per agent and second", flush=True)
            with path.open("w", newline="") as file:
                rows = csv.DictWriter(file, COLUMNS)
                rows.writeheader()
                rows.writerows(kept)


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of an earlier run."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cell_of(row: dict[str, Any]) -> Cell:
    """Which cell a row is of."""
    return Cell(row["protocol"], int(row["agents"]), float(row["rate"]), row["trigger"])


def per_agent(row: dict[str, Any]) -> float:
    """Bits per agent and second."""
    return float(row["bits"]) / float(row["duration_s"]) / float(row["agents"])


# -- fits --------------------------------------------------------------------------------------------


def table(rows: list[dict[str, Any]], cells: list[Cell], value: Callable[[dict[str, Any]], float]) -> NDArray:
    """Values [cell, episode]."""
    return np.array([[value(row) for row in rows if cell_of(row) == cell] for cell in cells])


def line(x: NDArray, y: NDArray) -> tuple[float, float]:
    """Offset and slope of the least-squares line."""
    slope, offset = np.polyfit(x, y, 1)
    return float(offset), float(slope)


def fitted(x: NDArray, values: NDArray, power: bool) -> tuple[tuple[float, float, float], ...]:
    """Offset and slope, each with its interval from resampling the episodes of values [cell, episode]."""

    def fit(drawn: NDArray) -> tuple[float, float]:
        mean = values[:, drawn].mean(1)
        return line(np.log(x), np.log(mean)) if power else line(x, mean)

    count = values.shape[1]
    found = fit(np.arange(count))
    draws = np.array([fit(drawn) for drawn in resamples(count)])
    return tuple((found[k], *percentile_interval(draws[:, k])) for k in range(2))


def cell_text(values: NDArray, digits: int = 0) -> str:
    """A mean over episodes with its interval."""
    low, high = percentile_interval(values[resamples(len(values))].mean(1))
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def publish(out: Path) -> None:
    """The page and the figure, from the rows."""
    rows = read(out / "rows.csv")
    fits, lines = [], []
    head = (
        "| protocol | trigger | agents | changes per agent and minute | bits per agent and second "
        "| packets | at goal at the end |"
    )
    for cell in sorted({cell_of(row) for row in rows}, key=lambda c: (c.protocol, c.trigger, c.agents, c.rate)):
        bits = table(rows, [cell], per_agent)[0]
        packets = table(rows, [cell], lambda r: float(r["packets"]) / float(r["duration_s"]) / float(r["agents"]))[0]
        home = table(rows, [cell], lambda r: float(r["at_goal"]) / float(r["agents"]))[0]
        numbers = [cell_text(bits), cell_text(packets, 2), cell_text(home, 2)]
        name = [cell.protocol, cell.trigger, str(cell.agents), f"{cell.rate:g}"]
        lines.append("| " + " | ".join([*name, *numbers]) + " |")
    for protocol in PROTOCOLS:
        sizes = [Cell(protocol, n, RATE, "surprise") for n in SIZES]
        _, slope = fitted(np.array(SIZES, float), table(rows, sizes, per_agent), power=True)
        fits.append(f"| size | `{protocol}` | surprise | b = {slope[0]:.2f} [{slope[1]:.2f}, {slope[2]:.2f}] | |")
        for trigger in TRIGGERS:
            rates = rates_of(trigger)
            some = [Cell(protocol, SIZE, r, trigger) for r in rates]
            offset, slope = fitted(np.array(rates), table(rows, some, per_agent), power=False)
            fits.append(
                f"| surprise | `{protocol}` | {trigger} | c = {slope[0]:.1f} [{slope[1]:.1f}, {slope[2]:.1f}] "
                f"| a = {offset[0]:.0f} [{offset[1]:.0f}, {offset[2]:.0f}] |"
            )
    parts = (__doc__ or "").split("\n\n", 2)
    contacts = sum(int(row["collisions"]) for row in rows)
    page = [
        f"# {parts[0]}", f"```sh\n{parts[1].strip()}\n```", parts[2].strip(),
        f"{EPISODES} episodes per cell; contacts between agents in all of them: {contacts}.", "## Slopes",
        "| in | protocol | trigger | slope | at no surprise |\n|---|---|---|---|---|\n" + "\n".join(fits),
        "![Bits per agent and second against size and surprise](surprise-bandwidth.png)", "## Cells",
        head + "\n" + "|---" * 7 + "|\n" + "\n".join(lines),
    ]  # fmt: skip
    (out / "summary.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")
    draw(rows, out / "surprise-bandwidth.png")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Two panels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    colours = dict(zip(PROTOCOLS, ("#0072B2", "#D55E00"), strict=True))
    styles = dict(zip(TRIGGERS, ("-", "--", ":"), strict=True))
    for protocol in PROTOCOLS:
        values = table(rows, [Cell(protocol, n, RATE, "surprise") for n in SIZES], per_agent)
        (_, (slope, low, high)) = fitted(np.array(SIZES, float), values, power=True)
        left.loglog(SIZES, values, "o", color=colours[protocol], alpha=0.25, markersize=3)
        label = f"{protocol}, N^{slope:.2f} [{low:.2f}, {high:.2f}]"
        left.loglog(SIZES, values.mean(1), "-", color=colours[protocol], label=label)
        for trigger in TRIGGERS:
            rates = rates_of(trigger)
            mean = table(rows, [Cell(protocol, SIZE, r, trigger) for r in rates], per_agent).mean(1)
            how = {"linestyle": styles[trigger], "color": colours[protocol], "marker": "o"}
            right.plot(rates, mean, label=f"{protocol}, {trigger}", **how)
    left.set_xticks(SIZES, [str(size) for size in SIZES])
    left.set_yticks((100, 200, 400, 800), ("100", "200", "400", "800"))
    left.minorticks_off()
    left.set(xlabel="agents", ylabel="bits per agent and second", title=f"{RATE:g} changes per agent and minute")
    right.set(xlabel="goal changes per agent and minute", yscale="log", title=f"{SIZE} agents")
    for axes in (left, right):
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="run all cells again")
    parser.add_argument("--page", action="store_true", help="write the page and the figure only")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.page:
        collect(given.out, given.again)
    publish(given.out)


if __name__ == "__main__":
    main()
