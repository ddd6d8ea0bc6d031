"""What a change of definitions does to the orders of the last days, member by member."""

from __future__ import annotations

from streams.index.definition_changes import LabelMove, MemberChange, changes
from streams.index.definitions import Definitions, MemberDefinition
from streams.index.label_rows import PackedRow, item
from streams.index.other_labels import LabelCounts
from tests.support.flow_harness import METHODOLOGY

PK = METHODOLOGY.markets["PK"]
M = MemberDefinition


def document(**members):
    return Definitions("PK", category=members)


def counted() -> LabelCounts:
    """10 orders of shoes, 6 of shirts, 4 of garden gnomes; 3 of them name shoes and shirts."""
    counts = LabelCounts()
    numbers = [0, 17, 32, 10, 50, 6, 68, 4]
    labels = ["0shoes", "0shirts", "0garden gnomes"]
    counts.add(PackedRow(numbers, labels, [[3, 0, item(32), item(50)]]))
    return counts


def changed(before, after):
    return changes(PK, before, after, counted())


def test_nothing_changes_by_the_same_document():
    both = document(shoes=M(), shirts=M())
    assert changed(both, both) == []


def test_a_merge_counts_an_order_of_both_once_and_the_merged_one_vanishes():
    move = LabelMove("shirts", "shoes", 1, 6)
    merged = document(shoes=M(labels=("shirts",)))
    assert changed(document(shoes=M(), shirts=M()), merged) == [
        MemberChange("category", "shoes", "changes", 10, 10 + 6 - 3, [move], []),
        MemberChange("category", "shirts", "vanishes", 6, 0, [move], []),
    ]


def test_a_member_that_appears_takes_its_labels_from_other():
    move = LabelMove("other", "garden", 1, 4)
    after = document(garden=M(labels=("Garden Gnomes",)), shoes=M(), shirts=M())
    assert changed(document(shoes=M(), shirts=M()), after) == [
        MemberChange("category", "garden", "appears", 0, 4, [move], []),
        MemberChange("category", "other", "changes", 4, 0, [move], []),
    ]


def test_a_renamed_member_keeps_its_orders_and_moves_nothing():
    before = document(shoes=M(), shirts=M())
    after = document(footwear=M(formerly=("shoes",), name="Foot Wear"), shirts=M())
    assert changed(before, after) == [
        MemberChange("category", "footwear", "renamed", 10, 10, [], ["name"], "shoes")
    ]


def test_a_parent_counts_the_orders_of_its_children_once():
    before = document(shoes=M(), shirts=M())
    after = document(fashion=M(), shoes=M(parent="fashion"), shirts=M(parent="fashion"))
    assert changed(before, after) == [
        MemberChange("category", "fashion", "appears", 0, 10 + 6 - 3, [], []),
        MemberChange("category", "shoes", "changes", 10, 10, [], ["parent"]),
        MemberChange("category", "shirts", "changes", 6, 6, [], ["parent"]),
    ]


def test_a_split_by_label_says_which_orders_go():
    before = document(fashion=M(labels=("shoes", "shirts")))
    after = document(fashion=M(labels=("shirts",)), shoes=M())
    move = LabelMove("fashion", "shoes", 1, 10)
    assert changed(before, after) == [
        MemberChange("category", "fashion", "changes", 13, 6, [move], []),
        MemberChange("category", "shoes", "appears", 0, 10, [move], []),
    ]
