"""The base of the level index in methodology.toml."""

from __future__ import annotations

import pytest

from streams.index.level import BasePeriod
from streams.index.methodology import MethodologyError, parse
from streams.index.panes import day_number
from tests.support.methodologies import DEMO_TEXT as TEXT


def with_base(base: str) -> str:
    return TEXT.replace('name = "Nepal"', f'name = "Nepal"\nbase = {base}')


def test_a_base_is_local_days_and_needs_no_new_edition():
    before = parse(TEXT)
    after = parse(with_base("{ from = 2026-01-01, to = 2027-01-01 }"))
    assert before.markets["NP"].base is None
    assert after.markets["NP"].base == BasePeriod(
        day_number("2026-01-01"), day_number("2027-01-01"), None
    )
    assert after.content_hash == before.content_hash


def test_a_stated_base_holds_its_net_sales():
    stated = parse(with_base("{ from = 2026-01-01, to = 2026-01-02, net_minor = 5 }"))
    assert stated.markets["NP"].base == BasePeriod(20_454, 20_455, 5)


@pytest.mark.parametrize(
    ("base", "problem"),
    [
        ("{ from = 2026-01-01, to = 2026-01-01 }", "NP.base: expected 1 to 1100 days"),
        ("{ from = 2020-01-01, to = 2026-01-01 }", "found 2192"),
        ("{ from = 2026-01-01, to = 2026-02-01, net_minor = 0 }", "NP.base.net_minor"),
        ("{ from = 2026-01-01 }", "to"),
    ],
)
def test_a_wrong_base_is_named(base, problem):
    with pytest.raises(MethodologyError, match=problem):
        parse(with_base(base))
