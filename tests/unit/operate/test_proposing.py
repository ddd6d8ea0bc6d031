"""Which member a label that no member has is written like."""

from __future__ import annotations

import pytest

from streams.index.definitions import Definitions, MemberDefinition
from streams.index.other_labels import LabelCounts
from streams.operate.definition_lines import proposed_lines
from streams.operate.proposing import latin, likely_member, proposed
from tests.support.flow_harness import METHODOLOGY

MEMBERS = {
    "istanbul": MemberDefinition(),
    "mens_fashion": MemberDefinition("Men's Fashion", ("gents wear",)),
    "одежда": MemberDefinition(),
    "shoes": MemberDefinition(),
}


@pytest.mark.parametrize(
    ("label", "member"),
    [
        ("i\u0307stanbul", "istanbul"),
        ("fashion men's", "mens_fashion"),
        ("gent's wear", "mens_fashion"),
        ("odezhda", "одежда"),
        ("shoe", "shoes"),
        ("shirts", ""),
        ("garden gnomes", ""),
        ("---", ""),
    ],
)
def test_a_label_is_like_the_member_that_is_written_so_in_latin_letters(label, member):
    found, likeness = likely_member(label, MEMBERS)
    assert found == member
    assert (likeness >= 80) is bool(member)


def test_latin_letters():
    found = [latin(each) for each in ("Straße", "Одежда", "İstanbul", "চাল", "mens_fashion")]
    assert found == ["strasse", "odezhda", "istanbul", "cal", "mens fashion"]


def test_labels_that_no_member_has_are_proposed_by_weight():
    counts = LabelCounts()
    counts.placed = {"0shoe": 7, "0garden\x1b gnomes": 9, "0shoes": 5, "0": 3, "0\0": 2, "2x": 0}
    definitions = Definitions("PK", category={"shoes": MemberDefinition()})
    found = proposed(METHODOLOGY.markets["PK"], definitions, counts)
    assert [tuple(each) for each in found] == [
        ("category", "garden\x1b gnomes", 9, "", 0),
        ("category", "shoe", 7, "shoes", 89),
    ]
    assert list(proposed_lines("PK", found)) == [
        "PK category  9 orders  'garden\ufffd gnomes'",
        "PK category  7 orders  'shoe'  like shoes (89 %)",
    ]
    assert "every label" in next(proposed_lines("PK", []))
