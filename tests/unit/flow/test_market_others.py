"""What `other` is made of, on the whole path: from raw bytes to the publication."""

import pytest

from streams.flow.market import IDLE_MS
from streams.index import member_rows
from streams.index.label_text import label_of
from streams.index.other_labels import OtherLabels, OthersOfDay, UndeclaredLabel
from streams.index.panes import DAY_MS, LocalDays
from tests.support.events import T0
from tests.support.flow_harness import METHODOLOGY, Flow, order, payment

DAYS = LocalDays(METHODOLOGY.markets["PK"].time_zone)
GNOMES = "Garden Gnomes"


@pytest.fixture
def flow():
    return Flow()


def sell(flow: Flow, name: str, at_ms: int, *categories: str, count: int = 1, **extra) -> None:
    flow.now_ms = max(flow.now_ms, at_ms)
    for number in range(count):
        lines = [(each, 1, 100) for each in categories]
        sp = flow.sps["orders"][number % 2]
        flow.produce(sp, order(f"{name}{number}", at_ms, lines=lines, **extra), at_ms)


def pay(flow: Flow, name: str, at_ms: int, method: str, count: int = 1, **extra) -> None:
    for number in range(count):
        sp = flow.sps["payments"][number % 2]
        flow.produce(sp, payment(f"{name}{number}", at_ms, method=method, **extra), at_ms)


def others(flow: Flow) -> list[OthersOfDay]:
    return flow.published["PK"].others


def of(flow: Flow, dimension: str, counted: str = "orders", at: int = 0) -> OtherLabels:
    (found,) = (
        each
        for each in others(flow)[at].dimensions
        if (each.dimension, each.counted) == (dimension, counted)
    )
    return found


def test_orders_of_an_undeclared_category_by_an_undeclared_method_are_named(flow):
    sell(flow, "a", T0, "Books", count=700, payment_method="cod", region="Sindh", channel="web")
    sell(flow, "b", T0, GNOMES, count=300, payment_method="Crypto", channel="web")
    sell(flow, "c", T0, GNOMES, "Pet-Food", count=2, channel="web")
    pay(flow, "p", T0, "Crypto", count=4)
    pay(flow, "f", T0, "Crypto", kind="payment.failed")
    flow.run()
    (today,) = others(flow)
    assert today.day == DAYS.day_of(T0)
    assert of(flow, "category") == OtherLabels(
        "category", "orders", total=1_002, other=302, undeclared=302, more=0, unnamed=0, labels=2,
        largest=[UndeclaredLabel(label_of(GNOMES), 302), UndeclaredLabel(label_of("Pet-Food"), 2)],
    )  # fmt: skip
    method = of(flow, "payment_method")
    assert (method.other, method.unnamed, method.largest) == (
        300,
        2,
        [UndeclaredLabel("crypto", 300)],
    )
    by_payments = of(flow, "payment_method", "payments")
    assert (by_payments.total, by_payments.largest) == (5, [UndeclaredLabel("crypto", 5)])
    assert (of(flow, "region").unnamed, of(flow, "channel").labels) == (302, 0)
    assert flow.day_value("PK", "orders", "category", "other", "2026-09-21").value == 302


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[31mred\x1b[0m\r\n",
        "<script>alert(1)</script>",
        "\u202egnp.exe \u05d2\u05e0\u05df",
        "x" * 96,
        "\u0997" * 1_000,
        "half \ud83d of a pair",
    ],
)
def test_a_hostile_label_is_text_in_normal_form(flow, hostile):
    sell(flow, "a", T0, hostile, count=3)
    flow.run()
    (label,) = of(flow, "category").largest
    assert label == UndeclaredLabel(label_of(hostile), 3)
    assert len(label.label.encode()) <= 96
    assert not set(label.label) & set("\x1b\r\n\u202e\0")


def test_yesterday_stays_beside_today_and_no_third_day(flow):
    for day in range(3):
        sell(flow, f"d{day}", T0 + day * DAY_MS, GNOMES, count=10 + day)
        pay(flow, f"p{day}", T0 + day * DAY_MS, "cod")
        flow.run()
    first = DAYS.day_of(T0)
    assert [each.day for each in others(flow)] == [first + 2, first + 1]
    assert [of(flow, "category", at=at).total for at in (0, 1)] == [12, 11]


def test_it_is_read_once_a_minute_of_as_of_and_by_a_new_owner_at_once(flow):
    sell(flow, "a", T0 + 10_000, GNOMES)
    pay(flow, "a", T0 + 10_000, "cod")
    flow.run()
    before = others(flow)
    sell(flow, "b", T0 + 30_000, GNOMES)
    pay(flow, "b", T0 + 30_000, "cod")
    flow.run()
    assert others(flow) is before
    sell(flow, "c", T0 + 70_000, GNOMES)
    pay(flow, "c", T0 + 70_000, "cod")
    flow.run()
    assert of(flow, "category").total == 3
    known = others(flow)
    for partition in flow.compiles:
        flow.start_compile(partition)
        flow.step(partition)
    assert others(flow) == known
    assert others(flow) is not known


def test_what_comes_while_as_of_stands_still_is_read_after_a_while(flow):
    sell(flow, "a", T0, GNOMES)
    pay(flow, "a", T0, "cod")
    flow.run()
    sell(
        flow, "b", T0, GNOMES
    )  # its pane is not changed by orders whose time as_of has not reached
    flow.now_ms += IDLE_MS
    flow.run(caught_up=False)
    assert of(flow, "category").total == 2


def test_more_labels_than_are_remembered_change_no_number(flow, monkeypatch):
    monkeypatch.setattr(member_rows, "_KNOWN_MAX", 2)
    for number in range(5):
        sell(flow, f"a{number}", T0, f"label {number}", "Books", GNOMES)
    flow.run()
    category = of(flow, "category")
    assert (category.total, category.other, category.labels) == (5, 5, 6)
