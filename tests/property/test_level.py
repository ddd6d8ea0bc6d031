"""The level index: units do not matter, links follow one another, the base is 100 in the mean."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from streams.index.level import Base, level, link

NETS = st.integers(1, 2**80)
DAYS = st.integers(1, 1_100)


@st.composite
def bases(draw) -> Base:
    first = draw(st.integers(10_000, 30_000))
    return Base(first, first + draw(DAYS), draw(NETS), draw(st.booleans()))


def exact(net_minor: int, base: Base) -> Fraction:
    return Fraction(100 * net_minor * base.days, base.net_minor)


def factor(old: Base, new: Base) -> Fraction:
    return Fraction(old.net_minor * new.days, new.net_minor * old.days)


@given(st.integers(-(2**80), 2**80), bases())
def test_a_level_is_the_nearest_double(net_minor, base):
    assert level(net_minor, base) == float(exact(net_minor, base))


@given(st.integers(-(2**80), 2**80), bases(), st.integers(1, 10**6))
def test_the_unit_of_money_does_not_matter(net_minor, base, unit):
    other = base._replace(net_minor=base.net_minor * unit)
    assert level(net_minor * unit, other) == level(net_minor, base)


@given(bases(), bases(), bases())
def test_links_follow_one_another(one, two, three):
    assert factor(one, two) * factor(two, three) == factor(one, three)
    assert link(one, three) == float(factor(one, two) * factor(two, three))
    assert link(one, one) == 1.0


@given(st.integers(-(2**80), 2**80), bases(), bases())
def test_the_old_level_times_the_link_is_the_new_level(net_minor, old, new):
    assert level(net_minor, new) == float(exact(net_minor, old) * factor(old, new))


@given(st.lists(st.integers(0, 2**70), min_size=1, max_size=50).filter(any))
def test_the_days_of_the_base_are_100_in_the_mean(nets):
    base = Base(0, len(nets), sum(nets), final=True)
    assert sum(exact(net, base) for net in nets) / len(nets) == 100


@given(bases(), bases())
def test_the_link_is_100_by_the_old_level_over_the_new_base(old, new):
    old_over_new = exact(new.net_minor, old) / new.days
    assert link(old, new) == float(100 / old_over_new)


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 0), DAYS)
def test_a_base_that_sold_nothing_has_no_levels(net_minor, nothing, days):
    base = Base(0, days, nothing, final=True)
    assert level(net_minor, base) is None
    assert link(base, Base(0, 1, 1, final=True)) is None
    assert link(Base(0, 1, 1, final=True), base) is None
