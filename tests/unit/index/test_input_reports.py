"""What is said of an input: how much counts, and why the rest does not."""

from __future__ import annotations

import pytest

from streams.index.input_reports import (
    SPAN_MS,
    InputReport,
    InputWindow,
    Taken,
    encode_report,
    notes,
    read_reports,
    refused_share,
)

T0 = 1_790_000_000_000


def window(*taken: tuple[int, Taken]) -> InputWindow:
    found = InputWindow("orders", 0)
    for at_ms, each in taken:
        found.add(at_ms, each)
        if each.refused:
            found.reason, found.detail, found.offset = "schema", "no text - at `$.market`", 909
        if each.parts:
            found.part = "at `$.lines[1]`"
    return found


def said(*reports: InputReport):
    return notes(reports)


def test_nothing_is_said_before_anything_was_read_and_while_all_counts():
    assert InputWindow("orders", 0).report() is None
    assert said(window((T0, Taken(10, 0, 3, 0))).report()) == []


def test_a_first_user_whose_every_order_is_refused_reads_the_reason_and_its_path():
    report = window((T0, Taken(900, 900, 0, 0)), (T0 + 20_000, Taken(10, 10, 0, 0))).report()
    (note,) = said(report)
    assert (note.topic, note.severe, note.refused) == ("orders", True, 910)
    assert note.text == (
        "orders: 910 of 910 events were refused between 2026-09-21T14:13:20.000Z and "
        "2026-09-21T14:13:40.000Z. The last, orders-0@909, schema: no text - at `$.market`. "
        "See `ecindex dead-letters list`."
    )
    assert refused_share(report) == 1.0


def test_silence_changes_nothing_and_events_that_count_again_do():
    found = window((T0, Taken(910, 910, 0, 0)))
    found.add(T0 + SPAN_MS - 1, Taken(10, 0, 0, 0))
    assert said(found.report())[0].refused == 910
    found.add(T0 + SPAN_MS, Taken(10, 0, 0, 0))
    assert said(found.report()) == []


@pytest.mark.parametrize(("refused", "severe"), [(1, False), (49, False), (50, True), (100, True)])
def test_half_of_the_events_is_severe_and_ignored_records_are_no_events(refused, severe):
    report = window((T0, Taken(1_100, refused, 1_000, 0))).report()
    (note,) = said(report)
    assert note.severe is severe
    assert refused_share(report) == refused / 100


def test_an_input_that_holds_no_event_at_all_is_severe():
    (note,) = said(window((T0, Taken(20, 0, 20, 0))).report())
    assert note.severe
    assert note.text.startswith("orders: none of 20 records")


def test_parts_are_said_with_the_path_of_the_last():
    (note,) = said(window((T0, Taken(20, 0, 0, 3))).report())
    assert (note.severe, note.refused) == (False, 0)
    assert note.text.endswith("The last: at `$.lines[1]`.")


def test_corrections_without_an_order_and_stamps_far_ahead_are_said_beside_the_rest():
    found = window((T0, Taken(20, 1, 0, 0, 3, 0)), (T0 + 1, Taken(5, 0, 0, 0, 0, 4)))
    refused, unmatched, doubted = said(found.report())
    assert refused.refused == 1
    assert (unmatched.severe, unmatched.refused) == (doubted.severe, doubted.refused) == (False, 0)
    assert unmatched.text.startswith("orders: 3 cancels or refunds between")
    assert doubted.text.startswith("orders: 4 records between")


def test_partitions_of_a_topic_are_one_sentence_and_long_silent_ones_are_left_out():
    def of(partition: int, last_ms: int, refused: int) -> InputReport:
        return InputReport("orders", partition, last_ms - 10, last_ms, 10, refused, reason="r")

    (note,) = said(of(0, T0, 4), of(1, T0 + 5, 2), of(2, T0 - SPAN_MS, 10))
    assert note.refused == 6
    assert "6 of 20" in note.text
    assert "orders-1@" in note.text


def test_a_report_of_another_version_is_left_out():
    report = window((T0, Taken(1, 1, 0, 0))).report()
    fields = {b"orders-0": encode_report(report), b"orders-1": b"{", b"orders-2": b'{"topic":5}'}
    assert read_reports(fields) == [report]


def test_the_window_is_bounded():
    found = InputWindow("orders", 0)
    for number in range(100_000):
        found.add(T0 + 50 * number, Taken(1, 0, 0, 0))
    assert len(found._buckets) <= SPAN_MS // 10_000 + 1
    assert found.report().records <= SPAN_MS // 50 + 200
