"""What a version of the definitions changed, as the journal says it."""

from __future__ import annotations

import msgspec
from support.methodologies import METHODOLOGY

from streams.index.definition_edits import MemberEdit, member_edits
from streams.index.definitions import Definitions, MemberDefinition, definitions_of

OWN = definitions_of(METHODOLOGY.markets["PK"])
M = MemberDefinition


def of(**members) -> Definitions:
    kept = {name: each for name, each in OWN.category.items() if name not in members}
    given = {name: each for name, each in members.items() if each is not None}
    return msgspec.structs.replace(OWN, category=kept | given)


def edit(change, member, before="", *labels, **fields) -> MemberEdit:
    count = len(labels)
    return MemberEdit("category", change, member, before, list(labels), count, **fields)


def test_members_that_appear_vanish_and_are_renamed():
    assert member_edits(OWN, OWN) == []
    assert member_edits(OWN, of(toys=M())) == [
        edit("appeared", "toys"), edit("split", "toys", "other", "toys"),
    ]  # fmt: skip
    assert member_edits(OWN, of(books=None)) == [
        edit("vanished", "books"), edit("joined", "other", "books", "books"),
    ]  # fmt: skip
    renamed = of(books=None, letters=M(formerly=("books",), name="Letters"))
    assert member_edits(OWN, renamed) == [
        edit("renamed", "letters", "books"),
        edit("changed", "letters", fields=["name"]),
        edit("split", "letters", "other", "letters"),
    ]


def test_a_merge_joins_and_a_split_says_which_labels_went_where():
    whole = of(books=M(labels=("novels", "comics")))
    assert member_edits(whole, of(books=M(labels=("novels",)), comics=M())) == [
        edit("appeared", "comics"), edit("split", "comics", "books", "comics"),
    ]  # fmt: skip
    merged = of(books=None, computing=M(formerly=("books",)))
    assert edit("joined", "computing", "books", "books") in member_edits(OWN, merged)


def test_a_parent_and_a_name_are_fields_and_labels_are_at_most_twenty():
    assert member_edits(OWN, of(reading=M(), books=M(parent="reading", name="All books"))) == [
        edit("appeared", "reading"),
        edit("changed", "books", fields=["name", "parent"]),
        edit("split", "reading", "other", "reading"),
    ]
    labels = [f"label {at:02}" for at in range(30)]
    (found,) = member_edits(OWN, of(books=M(labels=tuple(labels))))
    assert (found.labels, found.labels_count) == (labels[:20], 30)
