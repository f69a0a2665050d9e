"""Make the frozen sets of ``experiments/scenes`` and the page that lists them.

    python experiments/freeze_scenes.py [--out experiments/scenes]

A set that is there already must come out bit for bit as it is; anything else is an error, because results
refer to it by its hash.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import agentsc

SETS = {
    **{f"weave-{n}": {"name": "weave", "agents": n} for n in (10, 20, 28)},
    **{f"circle-{n}": {"name": "circle", "agents": n, "phase": None, "jitter": 0.001} for n in (10, 20)},
    **{f"random-{n}": {"name": "random", "agents": n} for n in (6, 12, 20)},
    **{f"highways-{n}": {"name": "highways", "agents": n} for n in (6, 12, 20)},
    **{f"conveyor-{n}": {"name": "conveyor", "agents": n} for n in (6, 12)},
    **{f"drop-region-{n}": {"name": "drop-region", "agents": n} for n in (6, 12)},
    **{f"warehouse-{n}": {"name": "warehouse", "agents": n} for n in (12, 32)},
}
EPISODES, SEED = 20, 2026

PAGE = """# Frozen scenes

{episodes} instances of each scenario and size, seed {seed}, one JSON file per episode in the public multi-robot scene
format. [`docs/scenes.md`](../../docs/scenes.md) explains the files and how to run them; `agentsc freeze --check FOLDER`
verifies a folder. `python experiments/freeze_scenes.py` makes all of them again.

| set | agents | made by | SHA-256 of the set |
|---|---|---|---|
"""


def main() -> None:
    """Freeze every set, compare it with what is there, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "scenes")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    lines = [PAGE.format(episodes=EPISODES, seed=SEED)]
    for name, scenario in SETS.items():
        with tempfile.TemporaryDirectory() as scratch:
            scenes = agentsc.freeze(scenario=scenario, episodes=EPISODES, seed=SEED, out=Path(scratch) / name)
            if (out / name).exists():
                old = agentsc.check_scenes(out / name)
                assert old.sha256 == scenes.sha256, f"{name} does not come out as it is committed"
            else:
                shutil.copytree(scenes.folder, out / name)
        row = (f"`{name}`", str(scenario["agents"]), f"`{scenes.manifest['command']}`", f"`{scenes.sha256}`")
        lines.append(f"| {' | '.join(row)} |\n")
        print(name, scenes.sha256, flush=True)
    (out / "README.md").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
