"""The message of `ecindex notify test`: what it looks like, and how it is sent once."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from streams.index.panes import HOUR_MS, MINUTE_MS, rfc3339
from streams.notify.chart_data import ChartData
from streams.notify.composing import WHOLE_MARKET, Lasting
from streams.notify.instant_words import time_words
from streams.notify.message_receiver import PICTURED, MessageReceiver
from streams.notify.notice import Notice, NoticeAlert, NoticeKind, NoticeLink, Urgency
from streams.notify.picture import draw
from streams.settings import LinksSettings

_SHIFTED_MS = 10 * MINUTE_MS
_STEP_MS = 2 * MINUTE_MS
_EXPECTED = 1_000.0
_LEFT = 0.02


class TrialResult(NamedTuple):
    """What came back, as the receiver says it: the vendor's ids of the message."""

    receiver: str
    ids: dict[str, str]


def trial_notice(links: LinksSettings, now_ms: int) -> Notice:
    """A message that says of itself that it is a test, and has everything that a real one has."""
    shown = (
        ("page", "Live page", links.board),
        ("dashboard", "Dashboard", links.grafana),
        ("runbook", "Runbook", links.runbook),
    )
    began_ms = now_ms - _SHIFTED_MS
    return Notice(
        incident=f"ecindex-test-{now_ms // 1000}",
        message=f"ecindex-test-{now_ms // 1000}-1",
        kind=NoticeKind.BEGAN,
        urgency=Urgency.TICKET,
        title="Test message of `ecindex notify`: nothing has happened",
        since=f"{time_words(began_ms)} (invented, as all numbers here)",
        sent_at=rfc3339(now_ms),
        began=rfc3339(began_ms),
        size="2 % of what is expected (95 % interval: 1 % to 3 %)",
        sureness="when it was found, the evidence was 1.4 times what pages",
        affected="nobody",
        now="still so: 20 orders in 5 minutes, 1,000 expected",
        advice="Nothing. Whoever reads this gets the messages of the index.",
        links=tuple(NoticeLink(name, text, url) for name, text, url in shown if url is not None),
        alerts=(
            NoticeAlert("EcindexTest", "firing", "a test; <b>&amp;</b> <!channel> is no markup"),
        ),
    )


def trial_picture(now_ms: int) -> bytes:
    """A picture of invented numbers."""
    times = range(now_ms - 3 * HOUR_MS, now_ms, _STEP_MS)
    expected = {ms: _EXPECTED * (1 + 0.1 * math.sin(ms / HOUR_MS)) for ms in times}
    began_ms = now_ms - _SHIFTED_MS
    data = ChartData(
        WHOLE_MARKET,
        {ms: value * (_LEFT if ms > began_ms else 1) for ms, value in expected.items()},
        expected,
        {ms: 0.9 * value for ms, value in expected.items()},
        {ms: 1.1 * value for ms, value in expected.items()},
        is_share=False,
    )
    return draw(data, "Test: invented numbers", Lasting(began_ms, None, estimated=True), now_ms)


async def send_trial(receiver: MessageReceiver, links: LinksSettings, now_ms: int) -> TrialResult:
    """Send one test message, and its end, once each. Raises NotTakenError."""
    notice = trial_notice(links, now_ms)
    picture = trial_picture(now_ms) if receiver.name in PICTURED else None
    kept = await receiver.send(notice, picture, {})
    over = {
        "kind": NoticeKind.OVER,
        "message": f"{notice.incident}-2",
        "ended": rfc3339(now_ms),
        "since": f"{time_words(now_ms)}: the test is over",
        "now": "back within what is expected",
    }
    await receiver.send(msgspec.structs.replace(notice, **over), None, kept)
    return TrialResult(receiver.name, kept)
