"""``topics accept``: the operator accepts a change of an input's log that halted its partitions."""

from __future__ import annotations

import re

from streams.clock import now_ms
from streams.console.errors import OperationError
from streams.index.history_records import AcceptedChange, accepted_record
from streams.index.panes import rfc3339
from streams.operate.seeding import send_history
from streams.settings import Settings

_CHANGE = re.compile(r"id=[0-9a-f-]{36}|\d+:(\d+\.\.\d+|end=\d+|checkpoints-before=\d+)")


async def accept(settings: Settings, topic: str, change: str, reason: str) -> AcceptedChange:
    """Record that a change is accepted; workers read it within a second. Raises OperationError."""
    inputs = (settings.topics.orders, settings.topics.payments)
    if topic not in inputs:
        raise OperationError(f"topic {topic!r}: expected an input, {' or '.join(inputs)}")
    if not _CHANGE.fullmatch(change):
        raise OperationError(
            f"change {change!r}: expected what the halt names, such as id=ID, 0:10..14 or 0:end=99"
        )
    accepted = AcceptedChange(topic, change, rfc3339(now_ms()), reason)
    await send_history(settings, [accepted_record(accepted)])
    return accepted
