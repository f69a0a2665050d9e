"""Link specs as text, and what every registered link must do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentsc.links import LINKS, Draw, Held, Hop, LinkModel, Pairs, Surroundings, happens, parse_link
from agentsc.links.reach import everyone
from envs.errors import ConfigError
from envs.keyed import hash_words, uniform
from envs.registry import parameters


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A trace file."""
    path = tmp_path_factory.mktemp("trace") / "radio.csv"
    path.write_text("time_s,loss,delay_ms\n0,0,20\n1,0.5,80\n2,1,0\n")
    return str(path)


def shrunken(name: str, recording: str) -> LinkModel:
    """A registered link with the first example, or 0.3, for whatever it requires or has an example of."""
    rows = parameters(LINKS.get(name)).items()
    required = {key: row.get("examples", [0.3])[0] for key, row in rows if row["required"] or "examples" in row}
    if "path" in required:
        required["path"] = recording
    link: LinkModel = LINKS.create(name, **required)
    return link


def test_one_link_and_a_chain() -> None:
    assert [type(link).__name__ for link in parse_link("perfect")] == ["Perfect"]
    chain = parse_link("erasure:p=2e-1 + gilbert-elliott:p=0.05,r=0.2+delay:ms=1e+2, jitter_ms=50")
    values = [{k: v for k, v in link.model_dump().items() if k not in ("p_good", "p_bad")} for link in chain]
    assert values == [{"p": 0.2}, {"p": 0.05, "r": 0.2}, {"ms": 100.0, "jitter_ms": 50.0}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("erasure:p=1.4", r"link\.erasure\.p must be .*1.*got 1\.4 \(erasure probability per packet\)"),
        ("erasure:p=-0.1", r"link\.erasure\.p must be .*got -0\.1"),
        ("erasure:p=nan", r"link\.erasure\.p must be .*got nan"),
        ("erasure:p=lots", r"link\.erasure\.p must be .*got 'lots'"),
        ("erasure", r"link\.erasure\.p is missing"),
        ("erasure:p=0.1,q=0.1", r"link\.erasure .*'q'"),
        ("erasure:p", r"NAME:key=value.*got 'erasure:p'"),
        ("erasure:p=0.1,p=0.2", r"link\.erasure\.p must be given once"),
        ("erasur:p=0.1", r"link 'erasur' is not known: did you mean 'erasure'"),
        ("perfect+fade", r"link 'fade' is not known"),
        ("", r"a name is missing"),
        ("gilbert-elliott:p=0,r=0", r"p \+ r must be positive"),
        ("delay:ms=-1", r"link\.delay\.ms must be .*got -1"),
        ("delay:ms=inf", r"link\.delay\.ms must be .*got inf"),
        ("exponential-delay:mean_ms=-3", r"link\.exponential-delay\.mean_ms must be .*got -3"),
        (
            "pareto-delay:ms=20,cap_ms=10",
            r"link\.pareto-delay: cap_ms must be above ms, 20, got 10 \(raise it",
        ),
        ("duplicate:p=2", r"link\.duplicate\.p must be .*got 2"),
        ("bandwidth:kbps=-1", r"link\.bandwidth\.kbps must be greater than 0, got -1.*\(rate, 1000 bits"),
        ("bandwidth:kbps=10,queue=0", r"link\.bandwidth\.queue must be .*1, got 0.*\(packets that may wait"),
        ("bandwidth:kbps=10,drop=random", r"link\.bandwidth\.drop must be 'tail' or 'head', got 'random'"),
        ("range:metres=0", r"link\.range\.metres must be greater than 0"),
        ("k-nearest:k=0", r"link\.k-nearest\.k must be .*1, got 0"),
        ("k-nearest:k=1.5", r"link\.k-nearest\.k must be .*got 1\.5"),
        ("markov:matrix=0.9/0.2:0.5/0.5,loss=0/1", r"link\.markov\.matrix: row 1 must sum to 1, got 1\.1"),
        ("markov:matrix=0.9/0.1:0.5,loss=0/1", r"link\.markov\.matrix: row 2 must have 2 numbers"),
        ("markov:matrix=1.1/-0.1:0.5/0.5,loss=0/1", r"link\.markov\.matrix\.0\.0 must be .*got '1\.1'"),
        ("markov:matrix=1/0:0/1,loss=0/1", r"link\.markov\.matrix: must be one chain"),
        (
            "markov:matrix=0.9/0.1:0.5/0.5,loss=0/1/0",
            r"link\.markov: loss must have one number for each of the 2",
        ),
        ("markov:matrix=0.9/0.1:0.5/0.5,loss=0/2", r"link\.markov\.loss\.1 must be .*got '2'"),
        ("markov:matrix=a/b,loss=0/2", r"link\.markov\.matrix\.0\.0 must be .*got 'a'"),
        (
            "trace:path=nowhere.csv",
            r"link\.trace: path must be a readable CSV file, got 'nowhere\.csv' \(No such",
        ),
    ],
)
def test_bad_specs_name_field_value_and_fix(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_link(spec)


def hop_of(lanes: int = 2, agents: int = 5, clock: int = 3) -> Hop:
    """Everyone to everyone, from random places."""
    lane, sender = (part.ravel().astype(np.int32) for part in np.indices((lanes, agents)))
    spots = np.random.default_rng(0).uniform(0, 1, (lanes, agents, 2))
    clocks, bits = np.full(len(lane), clock, np.int32), np.full(len(lane), 72, np.int32)
    packets = Held.new(lane, sender, clocks, np.zeros((len(lane), 9), np.uint8), bits, clocks * 0.05)
    return Hop(packets, everyone(sender, agents), Surroundings(agents, spots))


@pytest.mark.parametrize("name", list(LINKS))
def test_every_link_keeps_the_shapes_and_is_a_pure_function(name: str, recording: str) -> None:
    link, hop = shrunken(name, recording), hop_of()
    seeds = hash_words(7, np.arange(2))
    begin = link.initial(Draw(hop, seeds))
    assert begin is None or begin.shape == (len(hop),)
    effects = [link.carry(hop, Draw(hop, seeds), None if begin is None else begin.copy()) for _ in range(2)]
    for effect in effects:
        assert set(effect.lost) <= set(link.reasons)
        assert all(lost.shape == (len(hop),) and lost.dtype == bool for lost in effect.lost.values())
        assert (effect.state is None) == (begin is None)
        assert effect.state is None or effect.state.shape == begin.shape
        assert isinstance(effect.delay_s, float) or effect.delay_s.shape == (len(hop),)
        assert np.min(effect.delay_s) >= 0.0 and np.min(effect.copy_delay_s, initial=0.0) >= 0.0
        assert effect.copied is None or (np.diff(effect.copied) > 0).all()
    one, other = (dict(lost) | {"delay": np.asarray(delay)} for lost, delay, *_ in effects)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])
    if link.restricts:
        packet, receiver = link.audience(hop.packets, 5, Surroundings(5, np.zeros((2, 5, 2))))
        assert (np.diff(packet.astype(int) * 5 + receiver) > 0).all() and (
            hop.sender[packet] != receiver
        ).all()


@pytest.mark.parametrize("name", list(LINKS))
def test_what_a_row_meets_does_not_depend_on_the_rows_beside_it(name: str, recording: str) -> None:
    link, hop = shrunken(name, recording), hop_of()
    seeds, some = hash_words(7, np.arange(2)), np.arange(1, len(hop), 3)
    part = Hop(hop.packets, Pairs(hop.packet[some], hop.receiver[some]), hop.around)
    states = [link.initial(Draw(h, seeds)) for h in (hop, part)]
    whole, own = (link.carry(h, Draw(h, seeds), s) for h, s in zip((hop, part), states, strict=True))
    for reason, lost in whole.lost.items():
        np.testing.assert_array_equal(lost[some], own.lost[reason])
    np.testing.assert_array_equal(np.broadcast_to(whole.delay_s, len(hop))[some], own.delay_s)
    if states[0] is not None:
        np.testing.assert_array_equal(whole.state[some], own.state)


@pytest.mark.parametrize("name", list(LINKS))
def test_every_parameter_is_described(name: str) -> None:
    entry = next(row for row in LINKS.describe() if row["name"] == name)
    assert entry["description"].endswith(".")
    assert all(row.get("description") for row in entry["parameters"].values())


def test_a_matrix_may_be_text_or_lists() -> None:
    (text,) = parse_link("markov:matrix=0.9/0.1:0.5/0.5,loss=0/1")
    assert text == LINKS.create("markov", matrix=[[0.9, 0.1], [0.5, 0.5]], loss=[0, 1])
    np.testing.assert_allclose(text.stationary, [5 / 6, 1 / 6])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1 must have a column time_s, got 'nothing'"),
        ("time_s,loss\n0,0\n1,0\n", r"line 1 must have a column delay_ms, got 'time_s,loss'"),
        ("time_s,loss,delay_ms,sender\n", r"line 1 must have a column receiver"),
        ("time_s,loss,delay_ms\n0,0,0\n", r"must have at least two rows, got 1"),
        ("time_s,loss,delay_ms\n", r"must have at least two rows, got none"),
        ("time_s,loss,delay_ms\n0,0,0\n1,0\n", r"line 3 must have 3 columns, got 2"),
        (
            "time_s,loss,delay_ms\n0,0,0\n2,0,0\n1,0,0\n",
            r"line 4 column time_s must be later .*, 2 .*got '1'",
        ),
        ("time_s,loss,delay_ms\n0,0,0\n1,1.5,0\n", r"line 3 column loss must be in \[0, 1\], got '1\.5'"),
        ("time_s,loss,delay_ms\n0,0,0\n\n1,0,-2\n", r"line 4 column delay_ms must be at least 0, got '-2'"),
        ("time_s,loss,delay_ms\n0,nan,0\n1,0,0\n", r"line 2 column loss must be in \[0, 1\], got 'nan'"),
        ("time_s,loss,delay_ms\n0,0,soon\n", r"line 2 column delay_ms must be a number, got 'soon'"),
        (
            "time_s,loss,delay_ms,sender,receiver\n0,0,0,a,1\n",
            r"line 2 column sender must be an agent's number",
        ),
        (
            "time_s,loss,delay_ms,sender,receiver\n0,0,0,0,1\n1,0,0,0,1\n0,0,0,1,0\n",
            r"at least two rows for sender 1, receiver 0, got 1",
        ),
    ],
)
def test_mistakes_in_a_trace_are_named_with_line_and_column(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"link\.trace: .*" + message):
        parse_link(f"trace:path={path}")


@pytest.mark.parametrize("probability", [0.0, 1e-9, 0.2, 0.5, 1.0 - 1e-12, 1.0])
def test_happens_decides_as_a_uniform_draw_would(probability: float) -> None:
    words = np.arange(20_000)
    np.testing.assert_array_equal(happens(hash_words(3, words), probability), uniform(3, words) < probability)
