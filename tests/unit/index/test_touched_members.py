"""Which version of the definitions last changed what a member counts."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.methodologies import METHODOLOGY

from streams.index.definition_changes import LabelTargets
from streams.index.definitions import Definitions, MemberDefinition, definitions_of, market_with
from streams.index.label_text import label_of
from streams.index.touched_members import TouchedMembers

PK = METHODOLOGY.markets["PK"]
OWN = definitions_of(PK)
M = MemberDefinition
BOOKS, OTHER = ("category", "books"), ("category", "other")


def of(**members) -> Definitions:
    kept = {name: each for name, each in OWN.category.items() if name not in members}
    given = {name: each for name, each in members.items() if each is not None}
    return msgspec.structs.replace(OWN, category=kept | given)


def touched(*documents: Definitions) -> dict:
    """Versions, of documents that come as versions 1, 2, ..."""
    found = TouchedMembers()
    for version, document in enumerate(documents, 1):
        found.take_document(document, version)
    return found.versions(OWN)


def test_nothing_is_touched_by_what_was_declared_or_by_what_changes_no_label():
    assert touched(OWN) == {}
    name_alone = of(books=M(name="All books", labels=("Books!", "BOOKS")))
    assert touched(name_alone, OWN, name_alone) == {}


def test_a_member_that_gains_a_label_is_touched_and_who_loses_it():
    more = of(books=M(labels=("novels",)))
    assert touched(more) == {BOOKS: 1, OTHER: 1}
    assert touched(OWN, more, more) == {BOOKS: 2, OTHER: 2}
    assert touched(more, OWN) == {BOOKS: 2, OTHER: 2}, "undone is touched again"
    assert touched(more, of(books=M(labels=("novels",)), toys=M())) == {
        BOOKS: 1, ("category", "toys"): 2, OTHER: 2,
    }  # fmt: skip


def test_a_split_by_text_touches_both_a_renamed_member_is_new_and_one_that_is_gone_is_none():
    assert touched(of(books=M(), signed=M(labels=("books!",)))) == {
        BOOKS: 1, ("category", "signed"): 1, OTHER: 1,
    }  # fmt: skip
    renamed = touched(of(books=None, letters=M(formerly=("books",))))
    assert renamed == {("category", "letters"): 1, OTHER: 1}
    assert touched(of(books=None)) == {OTHER: 1}


def test_a_parent_counts_what_its_children_count():
    with_parent = of(reading=M(), books=M(parent="reading"))
    assert touched(with_parent) == {("category", "reading"): 1, OTHER: 1}
    grown = of(reading=M(), books=M(parent="reading", labels=("novels",)))
    assert touched(with_parent, grown) == {("category", "reading"): 2, BOOKS: 2, OTHER: 2}
    split = of(reading=M(), books=M(parent="reading"), novels=M(parent="reading"))
    assert touched(grown, split)["category", "reading"] == 1, "it counts the same labels"


def test_what_the_market_says_of_methods_follows_them():
    methods = OWN.payment_method | {
        "cod": msgspec.structs.replace(OWN.payment_method["cod"], digital=True)
    }
    found = touched(msgspec.structs.replace(OWN, payment_method=methods))
    assert found == {("market", "digital_share"): 1}
    methods = OWN.payment_method | {"crypto": M()}
    found = touched(msgspec.structs.replace(OWN, payment_method=methods))
    assert set(found) == {
        ("market", "mix_shift"),
        *(("payment_method", each) for each in ("crypto", "other")),
    }


NAMES = ("books", "novels", "Books!", "reading", "comics", "comics!", "বই")
LABELS = (*NAMES, "unheard of", "BOOKS", "other")


@st.composite
def documents(draw):
    names = draw(st.lists(st.sampled_from(("books", "reading", "comics", "novels")), unique=True))
    free = draw(st.permutations(NAMES))
    members, taken = {}, {label_of(each) for each in names}
    for name in names:
        labels = [each for each in free[: draw(st.integers(0, 3))] if label_of(each) not in taken]
        taken |= {label_of(each) for each in labels}
        parent = names[0] if name != names[0] and draw(st.booleans()) else ""
        members[name] = M(labels=tuple(labels), parent=parent)
    return Definitions("PK", category=members)


@given(st.lists(documents(), min_size=2, max_size=4))
@settings(max_examples=150)
def test_a_member_is_touched_by_the_last_version_that_gave_it_or_took_from_it_a_label(versions):
    counted, since = {}, {}
    for version, document in enumerate(versions, 1):
        targets = LabelTargets(market_with(PK, document))
        found = {("category", each): set() for each in (*document.category, "other")}
        for label in LABELS:
            for member in targets.all_of(f"0{label_of(label)}"):
                found["category", member].add(label)
        since = {
            scope: since[scope] if counted.get(scope) == labels else version
            for scope, labels in found.items()
        }
        counted = found
    held = TouchedMembers()
    for version, document in enumerate(versions, 1):
        held.take_document(document, version)
    known = {scope: at for scope, (_, at) in held._since.items() if scope[0] == "category"}
    assert known.keys() == since.keys()
    # What is read here are some labels. A member may have others that nobody says.
    assert all(known[scope] >= at for scope, at in since.items())
