"""What `other` is made of, from label rows: it adds up to the member `other`, and orders count once."""

import pytest

from streams.index import partials as col
from streams.index.label_rows import CATEGORY, CHANNEL, DAY_BOOK, METHOD, REGION, LabelRow, item
from streams.index.label_text import ABSENT, MORE
from streams.index.member_rows import MemberRows
from streams.index.other_labels import LARGEST_MAX, OtherLabels, UndeclaredLabel, other_labels
from streams.index.partials import Layout
from tests.support.methodologies import METHODOLOGY

LAYOUT = Layout(METHODOLOGY.markets["PK"])
MEMBERS = MemberRows(LAYOUT)
LATE, CORRECTED = 1, 2


def add(row, *categories, orders=1, method=None, region=ABSENT, channel="web"):
    row.numbers[col.PLACED_AT] += orders
    columns = [row.column(CATEGORY, each) for each in categories or [ABSENT]]
    for column in columns:
        row.numbers[column] += orders
    row.note_set(0, map(item, columns), orders)
    if method is not None:
        row.numbers[row.column(METHOD, method)] += orders
    row.numbers[row.column(REGION, region)] += orders
    row.numbers[row.column(CHANNEL, channel)] += orders


def pay(row, method, captured=0, failed=0):
    at = row.column(METHOD, method) + col.DAY_METHOD_PAYMENTS_AT
    row.numbers[col.DAY_PAYMENTS] += captured
    row.numbers[col.DAY_FAILED] += failed
    row.numbers[at] += captured
    row.numbers[at + 2] += failed


def found(*rows) -> dict[tuple[str, str], OtherLabels]:
    read = other_labels([row.packed() for row in rows], MEMBERS)
    return {(each.dimension, each.counted): each for each in read}


def in_other(block, *rows) -> int:
    at = block.at("other") + col.PLACED_AT
    return sum(MEMBERS.day(row.packed())[at] for row in rows)


def two_partitions():
    first, second = LabelRow(DAY_BOOK), LabelRow(DAY_BOOK)
    add(first, "books", orders=700, method="cod")
    add(first, "garden_gnomes", orders=200, method="crypto")
    add(first, "garden_gnomes", "pet_food", orders=30)
    add(first, "garden_gnomes", "pet_food", "books", ABSENT, orders=4)
    add(first, orders=5, method=ABSENT)
    add(second, "garden_gnomes", orders=100, method="crypto", region="atlantis")
    add(second, "other", orders=9, channel="carrier pigeon")
    add(second, MORE, "pet_food", orders=2)
    # Neither what came late nor what was taken again counts as placed in time.
    late = second.column(CATEGORY, "late_label")
    second.numbers[late + col.LATE_AT] += 50
    second.note_set(LATE, [item(late), item(second.column(CATEGORY, "pet_food"))], 50)
    second.note_set(CORRECTED, [item(late), item(second.column(CATEGORY, "garden_gnomes"), 2)])
    return first, second


def test_of_a_day_each_order_is_counted_once_and_each_label_named():
    rows = two_partitions()
    category = found(*rows)["category", "orders"]
    assert category == OtherLabels(
        "category", "orders", total=1_050, other=350, undeclared=336, more=2, unnamed=9, labels=2,
        largest=[UndeclaredLabel("garden_gnomes", 334), UndeclaredLabel("pet_food", 36)],
    )  # fmt: skip
    assert category.other == in_other(LAYOUT.day_category, *rows)


def test_a_method_that_is_not_named_is_in_no_member():
    rows = two_partitions()
    method = found(*rows)["payment_method", "orders"]
    assert (method.total, method.other, method.undeclared) == (1_050, 305, 300)
    assert method.unnamed == 1_050 - 700 - 300
    assert method.largest == [UndeclaredLabel("crypto", 300)]
    assert method.other == in_other(LAYOUT.day_method, *rows)


def test_regions_and_channels_have_their_labels_too():
    every = found(*two_partitions())
    region, channel = every["region", "orders"], every["channel", "orders"]
    assert (region.other, region.unnamed, region.largest) == (
        1_050, 950, [UndeclaredLabel("atlantis", 100)],
    )  # fmt: skip
    assert (channel.other, channel.unnamed, channel.largest) == (
        9, 0, [UndeclaredLabel("carrier pigeon", 9)],
    )  # fmt: skip


def test_methods_that_only_payments_name_are_counted_by_payments():
    row = LabelRow(DAY_BOOK)
    pay(row, "cod", captured=80)
    pay(row, "crypto", captured=15, failed=5)
    by_payments = found(row)["payment_method", "payments"]
    assert by_payments == OtherLabels(
        "payment_method", "payments", total=100, other=20, undeclared=20, more=0, unnamed=0, labels=1,
        largest=[UndeclaredLabel("crypto", 20)],
    )  # fmt: skip
    assert found(row)["payment_method", "orders"].labels == 0
    assert found(LabelRow(DAY_BOOK)) == {}


def test_the_largest_are_named_ties_by_label_and_the_others_counted():
    row = LabelRow(DAY_BOOK)
    for number in range(13):
        add(row, f"label_{number:02}", orders=2 if number in (5, 11) else 1)
    category = found(row)["category", "orders"]
    assert category.labels == 13
    assert [each.label for each in category.largest] == [
        "label_05", "label_11", *(f"label_{number:02}" for number in (0, 1, 2, 3, 4, 6, 7, 8)),
    ]  # fmt: skip
    assert len(category.largest) == LARGEST_MAX


def test_labels_without_room_and_sets_without_room_are_said():
    row = LabelRow(DAY_BOOK)
    add(row, "garden_gnomes", orders=3)
    row.room = 0
    add(row, "unheard_of", orders=4)
    add(row, "unheard_of", "garden_gnomes", orders=2)
    category = found(row)["category", "orders"]
    assert (category.total, category.more, category.labels) == (9, 6, 1)
    assert (category.other, category.undeclared, category.uncertain) == (11, 5, 2)
    assert category.other == in_other(LAYOUT.day_category, row)


@pytest.mark.parametrize(
    ("dimension", "label", "member"),
    [
        (CATEGORY, "books", "books"), (CATEGORY, "other", "other"), (CATEGORY, "garden_gnomes", None),
        (CATEGORY, ABSENT, None), (CATEGORY, MORE, None), (REGION, "atlantis", None),
    ],
)  # fmt: skip
def test_a_label_names_its_member_or_none(dimension, label, member):
    members = MemberRows(LAYOUT)
    assert [members.named(dimension, label) for _ in range(2)] == [member, member]
