"""The log of records that are set aside has their place and reason, seldom, and never their content."""

from __future__ import annotations

import structlog

from streams.flow.set_aside import LostParts, SetAside
from streams.worker.data_errors import LOG_EVERY_MS, DataErrorLog


def rejected(offset, reason="schema"):
    return SetAside(offset, b"key", b'{"shopper_id":"somebody"}', 0, reason, "found 'somebody'")


def test_a_line_a_minute_and_reason_with_the_place_and_the_number_of_records():
    now = [0]
    log = DataErrorLog(lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        log.log_set_aside("orders", 3, [rejected(7), rejected(8), rejected(9, "ahead")])
        now[0] = LOG_EVERY_MS - 1
        log.log_set_aside("orders", 3, [rejected(10)])
        now[0] = LOG_EVERY_MS
        log.log_set_aside("payments", 1, [rejected(11)])
    places = [
        (line["reason"], line["topic"], line["partition"], line["offset"], line["records"])
        for line in lines
    ]
    assert places == [
        ("schema", "orders", 3, 7, 1),
        ("ahead", "orders", 3, 9, 1),
        ("schema", "payments", 1, 11, 3),
    ]
    assert "somebody" not in str([list(line.values()) for line in lines])


def test_a_part_that_is_not_counted_is_logged_with_its_path():
    log = DataErrorLog(lambda: 0)
    lost = {"price": LostParts(2, 40, "expected a whole number, found text - at `$.lines[1]`")}
    with structlog.testing.capture_logs() as lines:
        log.log_parts_lost("orders", 1, lost)
        log.log_parts_lost("orders", 1, lost)
    (line,) = lines
    assert (line["event"], line["reason"], line["offset"], line["parts"]) == (
        "part_not_counted", "price", 40, 2,
    )  # fmt: skip
    assert "$.lines[1]" in line["detail"]
