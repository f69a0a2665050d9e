"""Link specs as text, and what every registered link must do."""

from __future__ import annotations

import numpy as np
import pytest

from agentsc.links import LINKS, LinkModel, happens, parse_link
from envs.errors import ConfigError
from envs.keyed import hash_words, uniform
from envs.registry import parameters


def shrunken(name: str) -> LinkModel:
    """A registered link with 0.3 for whatever it requires."""
    required = [key for key, row in parameters(LINKS.get(name)).items() if row["required"]]
    link: LinkModel = LINKS.create(name, **dict.fromkeys(required, 0.3))
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
    ],
)
def test_bad_specs_name_field_value_and_fix(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_link(spec)


@pytest.mark.parametrize("name", list(LINKS))
def test_every_link_keeps_the_shapes_and_is_a_pure_function(name: str) -> None:
    link = shrunken(name)
    pairs = hash_words(np.arange(2)[:, None, None], np.arange(5)[:, None], np.arange(5))
    state = link.initial(pairs)
    assert state is None or state.shape == pairs.shape
    rows = None if state is None else state[0]
    key = hash_words(7, np.arange(5)[:, None], np.arange(5))
    for _ in range(2):
        lost, after = link.loss(key, rows)
        assert lost is None or (lost.shape == key.shape and lost.dtype == bool)
        assert (after is None) == (state is None)
        assert after is None or after.shape == key.shape
        delay = link.delay_s(key)
        assert isinstance(delay, float) or delay.shape == key.shape
        assert np.min(delay) >= 0.0
        again = link.loss(key, rows)[0]
        assert (lost is None) == (again is None)
        assert lost is None or np.array_equal(lost, again)


@pytest.mark.parametrize("name", list(LINKS))
def test_every_parameter_is_described(name: str) -> None:
    entry = next(row for row in LINKS.describe() if row["name"] == name)
    assert entry["description"].endswith(".")
    assert all(row.get("description") for row in entry["parameters"].values())


@pytest.mark.parametrize("probability", [0.0, 1e-9, 0.2, 0.5, 1.0 - 1e-12, 1.0])
def test_happens_decides_as_a_uniform_draw_would(probability: float) -> None:
    words = np.arange(20_000)
    np.testing.assert_array_equal(happens(hash_words(3, words), probability), uniform(3, words) < probability)
