"""The budget of false pages in methodology.toml."""

from __future__ import annotations

import pytest

from streams.index.methodology import MethodologyError, parse
from streams.index.partials import Layout
from streams.index.shift_budget import market_shares, weights
from streams.index.shift_series import watched
from tests.support.methodologies import DEMO_TEXT as TEXT


def test_another_budget_needs_no_new_edition():
    changed = TEXT.replace("budget_days = 30", "budget_days = 60").replace(
        'name = "Nepal"', 'name = "Nepal"\nshift_weight = 3.0\nshift_places = 150'
    )
    before, after = parse(TEXT), parse(changed)
    assert after.shifts.budget_days == 60
    assert after.markets["NP"].shift_weight == 3.0
    series = len(watched(Layout(before.markets["NP"]))) - 1
    assert (before.markets["NP"].places, after.markets["NP"].places) == (series, 150)
    assert after.content_hash == before.content_hash
    assert parse(TEXT.replace("grace_ms = 120000", "grace_ms = 130000")).content_hash != (
        before.content_hash
    )


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("budget_days = 30", "budget_days = 0", "budget_days must be above 0"),
        ("members = 0.7", "members = 0.8", "add up to at most 1"),
        ("all = 0.2", "all = 0", "must be above 0"),
        ('name = "Nepal"', 'name = "Nepal"\nshift_weight = 0.0', "NP.shift_weight"),
        ('name = "Nepal"', 'name = "Nepal"\nshift_places = 9', "NP.shift_places must be from"),
        ('name = "Nepal"', 'name = "Nepal"\nshift_places = 680', "NP.shift_places .* to 679"),
        # Each of these ended every worker, or let no shift page.
        ('name = "Nepal"', 'name = "Nepal"\nshift_weight = 1e308', "NP.shift_weight"),
        ('name = "Nepal"', 'name = "Nepal"\nshift_weight = nan', "NP.shift_weight"),
        ("budget_days = 30", "budget_days = inf", "budget_days must be"),
        ("budget_days = 30", "budget_days = nan", "budget_days must be"),
        ("budget_days = 30", "budget_days = 1e-300", "budget_days must be"),
        ("all = 0.2", "all = nan", "must be above 0"),
        ("all = 0.2", "all = 5e-324", "must be above 0"),
        ("reserve = 0.1", "reserve = nan", "reserve at least 0"),
    ],
)
def test_a_budget_that_cannot_be_is_named(before, after, problem):
    with pytest.raises(MethodologyError, match=problem):
        parse(TEXT.replace(before, after, 1))


def test_markets_share_by_their_weight():
    assert market_shares({"PK": 1.0, "BD": 3.0}) == {"PK": 0.25, "BD": 0.75}
    with pytest.raises(ValueError, match="share"):
        weights(parse(TEXT).shifts, 0.0, 3)
