"""A cancel or refund days later revises the day its order was placed: once, with cause."""

from __future__ import annotations

import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.wire import partition_of
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from tests.support.events import tuned
from tests.support.flow_harness import Flow, order

START = 1_795_000_000_000 // DAY_MS * DAY_MS + 6 * HOUR_MS
"""11:00 in Karachi."""
DAY = "2026-11-18"
BOOKS, TOYS = [("books", 2, 500)], [("computing", 1, 9_000)]


def at(flow: Flow, kind: str, name: str, at_ms: int, *, placed_ms=None, lines=None) -> None:
    extra = {} if placed_ms is None else {"placed_at": rfc3339(placed_ms)}
    event = order(
        f"{kind}-{name}", at_ms, kind=f"order.{kind}", lines=lines, payment_method="cod", **extra
    )
    flow.produce(SourcePartition("orders", 0), event, at_ms)


def run_at(flow: Flow, now_ms: int) -> list:
    """Run everything; return the revisions of PK."""
    seen = len(flow.history)
    flow.now_ms = now_ms
    flow.run()
    return [each for found in flow.history[seen:] for each in found.revisions]


@pytest.fixture
def flow() -> Flow:
    """Two orders on the 18th, and it is the 21st."""
    flow = Flow(tuned(day_grace_ms=5 * DAY_MS))
    at(flow, "placed", "1", START, lines=BOOKS)
    at(flow, "placed", "2", START + 1000, lines=TOYS)
    run_at(flow, START + MINUTE_MS)
    at(flow, "placed", "3", START + 3 * DAY_MS)
    run_at(flow, START + 3 * DAY_MS + MINUTE_MS)
    return flow


def new_owner(flow: Flow) -> None:
    flow.start_compile(partition_of("PK", flow.partials_partitions))


def named(revisions) -> dict:
    """(index, member) of the day's revisions -> (from, to, cause, number)."""
    return {
        (each.value.index, each.value.member): (
            each.previous, each.value.value, each.cause, each.value.revision,
        )
        for each in revisions
        if each.value.day == DAY
    }  # fmt: skip


CANCELLED = {
    ("orders_valid", "all"): (2, 1, "cancel", 1),
    ("units_valid", "all"): (3, 1, "cancel", 1),
    ("sales_valid", "all"): (10_000, 9_000, "cancel", 1),
    ("orders_net", "all"): (2, 1, "cancel", 1),
    ("units_net", "all"): (3, 1, "cancel", 1),
    ("sales_net", "all"): (10_000, 9_000, "cancel", 1),
}


def cancel(flow):
    at(flow, "cancelled", "1", START + 3 * DAY_MS + 2 * MINUTE_MS, placed_ms=START, lines=BOOKS)


def test_a_cancel_revises_the_day_of_its_order_with_cause(flow):
    cancel(flow)
    found = named(run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS))
    assert {key: each for key, each in found.items() if key[1] == "all"} == CANCELLED
    assert found["orders_valid", "books"] == (None, 0, "cancel", 1)
    assert found["sales_net", "cod"] == (None, 9_000, "cancel", 1)
    assert ("orders", "all") not in found, "what was placed was placed"
    assert flow.day_value("PK", "sales_valid", "market", "all", DAY).value == 9_000


def test_a_refund_revises_net_alone(flow):
    at(
        flow,
        "refunded",
        "2",
        START + 3 * DAY_MS + 2 * MINUTE_MS,
        placed_ms=START + 1000,
        lines=TOYS,
    )
    found = named(run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS))
    assert found["sales_net", "all"] == (10_000, 1_000, "refund", 1)
    assert ("sales_valid", "all") not in found
    assert {cause for _, _, cause, _ in found.values()} == {"refund"}


def test_a_second_cancel_is_a_second_revision(flow):
    cancel(flow)
    run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS)
    at(flow, "cancelled", "2", START + 4 * DAY_MS, placed_ms=START + 1000, lines=TOYS)
    found = named(run_at(flow, START + 4 * DAY_MS + MINUTE_MS))
    assert found["orders_valid", "all"] == (1, 0, "cancel", 2)


def test_ledgers_are_never_clamped(flow):
    for name in ("1", "1-again"):
        at(flow, "refunded", name, START + 3 * DAY_MS + 2 * MINUTE_MS, placed_ms=START, lines=TOYS)
    run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS)
    assert flow.day_value("PK", "sales_net", "market", "all", DAY).value == 10_000 - 18_000


def test_a_new_owner_counts_a_cancel_once_that_its_predecessor_did_not_publish(flow):
    cancel(flow)
    flow.now_ms = START + 3 * DAY_MS + 3 * MINUTE_MS
    for sp in flow.logs:  # level 1 has it, level 2 dies before it publishes
        flow.fold(sp)
        flow.send_partials(sp)
        flow.flush(sp)
        flow.send_partials(sp)
    new_owner(flow)
    found = named(run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS))
    assert {key: each for key, each in found.items() if key[1] == "all"} == CANCELLED


def test_a_new_owner_revises_nothing_after_a_published_cancel_and_keeps_the_number(flow):
    cancel(flow)
    run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS)
    new_owner(flow)
    assert not named(run_at(flow, START + 3 * DAY_MS + 4 * MINUTE_MS))
    value = flow.day_value("PK", "sales_valid", "market", "all", DAY)
    assert (value.value, value.revision) == (9_000, 1)


def test_a_kill_between_journal_and_table_keeps_the_revision_number(flow):
    """The journal may hold a revision twice then, but it is the same one: readers see one."""
    partition = partition_of("PK", flow.partials_partitions)
    cancel(flow)
    before = dict(flow.tables[partition])
    first = named(run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS))
    for key in [key for key in flow.tables[partition] if key[:2] in (b"s|", b"f|")]:
        del flow.tables[partition][key]
    flow.tables[partition] |= {key: v for key, v in before.items() if key[:2] in (b"s|", b"f|")}
    new_owner(flow)
    assert named(run_at(flow, START + 3 * DAY_MS + 4 * MINUTE_MS)) == first


def test_today_is_not_revised_it_grows(flow):
    at(flow, "cancelled", "3", START + 3 * DAY_MS + 2 * MINUTE_MS, placed_ms=START + 3 * DAY_MS)
    assert not run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS)
    assert flow.day_value("PK", "orders_net", "market", "all", "2026-11-21").value == 0


def test_a_final_day_keeps_its_revisions(flow):
    cancel(flow)
    run_at(flow, START + 3 * DAY_MS + 3 * MINUTE_MS)
    at(flow, "placed", "9", START + 8 * DAY_MS)
    run_at(flow, START + 8 * DAY_MS + MINUTE_MS)
    closed = {
        value.index: value
        for found in flow.history
        for closing in found.closings
        if closing.kind == "day"
        for value in closing.values
        if value.day == DAY and value.member == "all"
    }
    assert (closed["sales_valid"].value, closed["sales_valid"].phase) == (9_000, "final")
    assert (closed["sales_valid"].revision, closed["sales"].revision) == (1, 0)


def test_payments_without_placed_at_show_in_the_coverage(flow):
    from tests.support.flow_harness import payment

    now = START + 3 * DAY_MS + 2 * MINUTE_MS
    sp = SourcePartition("payments", 0)
    flow.produce(sp, payment("p1", now), now)
    flow.produce(sp, payment("p2", now, placed_at=rfc3339(now - HOUR_MS)), now)
    flow.produce(sp, payment("p3", now, placed_at=rfc3339(now - HOUR_MS)), now)
    run_at(flow, now + MINUTE_MS)
    value = flow.day_value("PK", "cohort_coverage", "market", "all", "2026-11-21")
    assert (value.value, value.observed, value.n) == (2 / 3, 2, 3)
    counted = flow.day_value("PK", "payments", "market", "all", "2026-11-21")
    assert (counted.value, counted.observed, counted.n) == (3, 3, 3)


def test_a_payment_without_placed_at_counts_on_its_own_local_day(flow):
    from tests.support.flow_harness import payment

    end = START + 3 * DAY_MS + 13 * HOUR_MS  # midnight in Karachi
    sp = SourcePartition("payments", 0)
    flow.produce(sp, payment("p1", end - 1, amount=500), end)
    flow.produce(sp, payment("p2", end, amount=700), end)
    run_at(flow, end + MINUTE_MS)
    days = ("2026-11-21", "2026-11-22")
    found = [flow.day_value("PK", "amount", "market", "all", day).value for day in days]
    assert found == [500, 700]
