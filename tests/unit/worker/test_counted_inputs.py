"""Settings of inputs against the topics that the checkpoints of the edition are of."""

from __future__ import annotations

import pytest

from streams.settings import Settings
from streams.worker.counted_inputs import inputs_by_changelog, judge_inputs, other_inputs


def settings(orders="orders", payments="payments"):
    return Settings(topics={"orders": orders, "payments": payments})


def test_the_names_of_the_changelogs_tell_the_inputs_of_the_edition():
    topics = [
        "orders",
        "ecindex-e3-checkpoint-orders-changelog",
        "ecindex-e3-checkpoint-shop-changelog-changelog",
        "ecindex-e2-checkpoint-old-changelog",
        "ecindex-e3-merged-changelog",
        "other-e3-checkpoint-orders-changelog",
    ]
    found = inputs_by_changelog(Settings(), 3, topics)
    assert found == {topics[1]: "orders", topics[2]: "shop-changelog"}


@pytest.mark.parametrize(
    ("set_to", "counted", "expected"),
    [
        (settings(), set(), None),  # a first start
        (settings(), {"orders", "payments"}, None),
        (settings(), {"orders"}, None),  # no payment has come yet
        (
            settings(orders="orders2"),
            {"orders", "payments"},
            ("topics.orders", "orders2", "orders", "set topics.orders to orders again, or raise"),
        ),
        (
            settings(payments="paid"),
            {"orders", "payments"},
            ("topics.payments", "paid", "payments", "set topics.payments to payments again, or"),
        ),
        (
            settings("a", "b"),
            {"orders", "payments"},
            ("topics.orders, topics.payments", "a, b", "orders, payments", "set them back (with "),
        ),
        # Nothing was counted of payments yet, so it may have been either.
        (
            settings("orders2"),
            {"orders"},
            (
                "topics.orders, topics.payments",
                "orders2, payments",
                "orders",
                "set them back (with ",
            ),
        ),
        # A version that did not refuse it has counted the other log: no setting takes that back.
        (
            settings("orders2"),
            {"orders", "orders2", "payments"},
            ("topics.orders, topics.payments", "orders2, payments", "orders", "raise `edition`"),
        ),
    ],
)
def test_an_input_of_another_name_than_was_counted_is_named_with_the_setting(
    set_to, counted, expected
):
    found = judge_inputs(set_to, counted)
    if expected is None:
        assert found is None
        return
    assert found[:3] == expected[:3]
    assert found.fix.startswith(expected[3])
    assert all(part in str(found) for part in expected)


async def test_nobody_is_asked_where_no_changelog_has_another_name():
    """No broker answers at the address of the settings: a connection would fail."""
    nowhere = Settings(kafka={"bootstrap_servers": "127.0.0.1:1"})
    counts = {"ecindex-e3-checkpoint-orders-changelog": 2, "orders": 2}
    assert await other_inputs(nowhere, 3, counts) is None
