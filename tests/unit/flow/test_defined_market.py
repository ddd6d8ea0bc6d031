"""Whether a document can be applied: all markets together have at most so many members."""

from __future__ import annotations

import pytest

from streams.flow.defined_market import defined_market, why_not_applied
from streams.flow.definitions_book import MarketDefinitions
from streams.index.definitions import Definitions, MemberDefinition
from tests.support.flow_harness import METHODOLOGY
from tests.unit.flow.test_redefined import document

CODES = list(METHODOLOGY.markets)
ONE = Definitions("X", category={"a": MemberDefinition()})
THREE = Definitions("X", category={each: MemberDefinition() for each in ("a", "b", "c")})


@pytest.fixture
def held(monkeypatch):
    """Every market has a document of one member; four more than that are too many."""
    monkeypatch.setattr("streams.flow.defined_market.CELLS_MAX", len(CODES) + 2)
    found = {code: MarketDefinitions() for code in CODES}
    for version, of in enumerate(found.values(), 1):
        of.take_document(ONE, version)
    return found


def test_of_two_that_are_too_many_together_the_later_one_cannot_be_applied(held):
    first, second, *_ = CODES
    held[second].take_document(THREE, 100)
    assert why_not_applied(METHODOLOGY, held, second) == ""
    held[first].take_document(THREE, 101)
    too_many = f"{len(CODES) + 4} members, at most {len(CODES) + 2}"
    assert too_many in why_not_applied(METHODOLOGY, held, first)
    assert why_not_applied(METHODOLOGY, held, second) == "", "what came first stays"
    held[second].take_document(ONE, 102)
    assert too_many in why_not_applied(METHODOLOGY, held, first), "as it was when it was written"
    held[first].take_document(THREE, 103)
    assert why_not_applied(METHODOLOGY, held, first) == ""


def test_the_market_has_the_versions_that_touched_its_members():
    held = {code: MarketDefinitions() for code in CODES}
    held["PK"].take_document(document(toys=MemberDefinition()), 4)
    market = defined_market(METHODOLOGY, held, "PK")
    assert market.definitions == 4
    assert market.touched == {("category", "toys"): 4, ("category", "other"): 4}
    assert defined_market(METHODOLOGY, held, "BD") is METHODOLOGY.markets["BD"]
