"""Definitions of a market: which label is whose, and what is wrong with a document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streams.index.definition_mistakes import LABELS_MAX, definition_mistakes
from streams.index.definitions import (
    Definitions,
    MemberDefinition,
    definitions_of,
    label_of_id,
    market_with,
    member_id,
)
from streams.index.identifiers import DIMENSIONS, MEMBERS_MAX
from streams.index.member_rows import MemberRows
from streams.index.methodology import Event, parse
from streams.index.partials import Layout
from tests.support.flow_harness import METHODOLOGY

PK = METHODOLOGY.markets["PK"]
CONFIG = Path(__file__).parents[3] / "config"
M = MemberDefinition


def categories(**members):
    return Definitions("PK", category={name.replace("__", " "): m for name, m in members.items()})


def named(definitions, *labels, dimension="category"):
    """Members that labels are of by the definitions."""
    market = market_with(PK, definitions)
    rows = MemberRows(Layout(market))
    return [rows.named(DIMENSIONS.index(dimension), label) for label in labels]


def wrong(definitions):
    return list(definition_mistakes(definitions))


@pytest.mark.parametrize("file", sorted(CONFIG.rglob("methodology.toml")), ids=str)
def test_the_methodology_is_version_0_and_its_definitions_make_the_same_market(file):
    for market in parse(file.read_text(encoding="utf-8")).markets.values():
        definitions = definitions_of(market)
        assert market_with(market, definitions) == market
        assert wrong(definitions) == []


def test_names_for_people_are_those_of_the_methodology():
    text = (CONFIG / "methodology.toml").read_text(encoding="utf-8")
    written = text.replace('"clothing"', '"Men\'s Fashion"', 1)
    assert written != text
    (market,) = parse(written).markets.values()
    member = definitions_of(market).category["mens_fashion"]
    assert member == M(name="Men's Fashion")


def test_a_label_that_is_listed_beats_a_slug_and_an_id_beats_the_slug_of_another_label():
    definitions = categories(
        mens_shoes=M(), sports=M(labels=("mens/shoes", "Gym Wear")), books=M(formerly=("novels",))
    )
    assert wrong(definitions) == []
    said = ["mens/shoes", "mens shoes", "mens_shoes", "gym-wear", "gym wear", "novels", "Books!"]
    assert named(definitions, *said) == [
        "sports", "mens_shoes", "mens_shoes", "sports", "sports", "books", "books",
    ]  # fmt: skip
    assert named(definitions, "gyms", "", "\0") == [None, None, None]
    assert named(categories(rest=M(labels=("other",))), "other", "Other!") == ["rest", "other"]


def test_two_labels_of_one_slug_in_two_members_are_told_apart_and_others_of_it_are_of_neither():
    definitions = categories(a1=M(labels=("x-y",)), b1=M(labels=("x y",)))
    assert wrong(definitions) == []
    assert named(definitions, "x-y", "x y", "x_y") == ["a1", "b1", None]


def test_an_id_may_be_any_label():
    member = member_id("Home: 50 % | {off}")
    assert member == "home%3A 50 %25 %7C %7Boff%7D"
    assert label_of_id(member) == "home: 50 % | {off}"
    definitions = Definitions("PK", category={member: M(), "!!!": M(), "চাল": M(), "চুল": M()})
    assert wrong(definitions) == []
    said = ["home: 50 % | {off}", "home-50-off", "!!!", "!!", "চাল", "চুল"]
    assert named(definitions, *said) == [member, member, "!!!", None, "চাল", "চুল"]


def test_events_follow_their_member_and_those_of_one_that_is_gone_are_left_out():
    whole = Event("market", "all", 1, 2, 2.0)
    events = (whole, *(Event("category", each, 1, 2, None) for each in ("old", "gone", "kept")))
    definitions = categories(new=M(formerly=("old",)), kept=M())
    market = market_with(replace(PK, events=events), definitions)
    assert [event.member for event in market.events] == ["all", "new", "kept"]
    assert market.scope_of("category:new") == ("category", "new")


WRONG = {
    "a label of two members": (
        categories(a=M(labels=("Shirts",)), b=M(labels=("shirts",))),
        "category.'b'.labels: 'shirts' is a label of 'a': a label has one member",
    ),
    "a label that is a member": (
        categories(a=M(labels=("B",)), b=M()),
        "category.'a'.labels: 'B' is the id of 'b': a label has one member",
    ),
    "a label of nothing": (categories(a=M(labels=("\u200b",))), "nothing of it is seen"),
    "a parent that is none": (categories(a=M(parent="b")), "'b' is no category"),
    "a parent that is a child": (
        categories(a=M(parent="b"), b=M(parent="c"), c=M()),
        "category.'a'.parent: 'b' has a parent itself",
    ),
    "its own parent": (categories(a=M(parent="a")), "a member does not contain itself"),
    "a reserved id": (categories(more=M()), "no member can be called all, more, other"),
    "a reserved id in other letters": (Definitions("PK", region={"o.t.h.e.r": M()}), None),
    "a reserved slug": (Definitions("PK", region={"other!": M()}), "no member can be called"),
    "an id that is no label": (
        Definitions("PK", category={"Men's Fashion": M()}),
        "as an id it is \"men's fashion\"",
    ),
    "an id with a separator": (Definitions("PK", category={"a|b": M()}), "as an id it is 'a%7Cb'"),
    "an id of nothing": (Definitions("PK", category={"": M()}), "an id is the normal form"),
    "two ids written alike": (
        Definitions("PK", category={"a b": M(), "a_b": M()}), "is written like 'a b'",
    ),
    "a former id that is a member": (
        categories(a=M(formerly=("b",)), b=M()), "'b' is a member still",
    ),
    "a former id of two": (
        categories(a=M(formerly=("c",)), b=M(formerly=("c",))), "is a former id of 'a' too",
    ),
    "a former id that is reserved": (categories(a=M(formerly=("other",))), "was never a member"),
    "a name of two lines": (categories(a=M(name="a\nb")), "characters on one line"),
    "a category that moves money": (categories(a=M(digital=True)), "only a payment method is"),
    "too many members": (
        categories(**{f"m{number}": M() for number in range(MEMBERS_MAX + 1)}),
        f"category: {MEMBERS_MAX + 1} members, at most {MEMBERS_MAX}",
    ),
    "too many series": (
        Definitions(
            "PK",
            category={f"m{number}": M() for number in range(400)},
            region={f"m{number}": M() for number in range(300)},
        ),
        "701 series would be watched",
    ),
    "too many labels": (
        categories(a=M(labels=tuple(f"l{number}" for number in range(LABELS_MAX + 1)))),
        f"at most {LABELS_MAX}",
    ),
    "too long": (
        categories(**{f"m{n}": M(labels=("x" * 900,) * 20) for n in range(40)}), "bytes as JSON",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("definitions", "reason"), WRONG.values(), ids=WRONG)
def test_a_document_that_cannot_hold_is_refused_with_the_reason(definitions, reason):
    found = wrong(definitions)
    if reason is None:
        assert found == []
    else:
        assert len(found) == 1
        assert reason in found[0]
