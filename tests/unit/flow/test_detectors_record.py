"""The largest record of a market's detectors fits into one record of the outbox."""

from __future__ import annotations

import dataclasses
import zlib

import msgspec
import numpy as np
import pytest

from streams.flow.market_shifts import KEPT_MAX
from streams.flow.shift_watch import ShiftWatch
from streams.flow.shifts_record import (
    PACKED_FROM_BYTES,
    UNPACKED_MAX_BYTES,
    KeptShift,
    ShiftsRecord,
    decode_shifts,
    encode_shifts,
)
from streams.index.formats import numbered_encoder
from streams.index.identifiers import MARKET_BYTES_MAX, MEMBER_BYTES_MAX, WATCHED_MAX
from streams.index.incident_measures import Affected, Excess, Measures
from streams.index.incidents import INCIDENTS_MAX, SHIFTS_KEPT, Incident, IncidentShift
from streams.index.page_budget import PAGED_MAX, PagedIncident, PageLog
from streams.index.partials import Layout
from streams.index.shift_detector import MEMBERS_AGAIN_MAX
from streams.index.shift_ratio import Contributor, RatioInterval
from streams.index.shift_states import OpenShift
from streams.worker.outbox import OutboxSettings
from tests.support.flow_harness import METHODOLOGY

MINUTE = 29_925_000
MS = 1_795_500_000_000
CODE = "M" * MARKET_BYTES_MAX
AGAIN_AN_HOUR = 20 * (1 + MEMBERS_AGAIN_MAX)
"""Of the total too. Until a stop is found, and that it is over, three minutes go by at least."""
RNG = np.random.default_rng(1)
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789_", np.uint8)
"""Of random letters no packing makes fewer bytes than of any shop's names."""


def name(length):
    return RNG.choice(LETTERS, length).tobytes().decode()


def names(length):
    return tuple(name(length) for _ in range(WATCHED_MAX))


def incident_name():
    return f"{CODE}-{RNG.integers(20_200_101, 20_991_231)}T{RNG.integers(10_000):04}-down"


def pane():
    """An instant in minutes, in parts to the pane."""
    return MINUTE + int(RNG.integers(60 * 1_440 * 12)) / 12


def ms():
    return int(MS + RNG.integers(60 * 1_440 * 12) * 5_000)


def interval():
    return RatioInterval(*(RNG.random(5) * 1e4).tolist())


def watch(members):
    """Detectors of a market with a shift in each of its series."""
    market = METHODOLOGY.markets["PK"]
    others = len(ShiftWatch(Layout(market), METHODOLOGY.shifts, 1.0).series) - len(
        market.categories
    )
    layout = Layout(
        dataclasses.replace(market, categories=members[: WATCHED_MAX - others], places=0)
    )
    found = ShiftWatch(layout, METHODOLOGY.shifts, 1.0)
    found.begin(MINUTE)
    detectors = found._final
    sizes = detectors.sizes
    for state in (
        *((clock.days, clock.since) for clock in (detectors.fast, detectors.slow)),
        (sizes.size, sizes.pane_size, sizes.next_size, sizes.next_pane_size),
        (sizes.known, sizes.taught, sizes.hour, sizes.block, sizes.term),
        (detectors.held, detectors.silent_until),
    ):
        for part in state:
            part[...] = RNG.random(part.shape) * MINUTE
    detectors.open = {
        at: OpenShift(
            -1, "fast", pane(), pane(), *(RNG.random(2) * 9).tolist(), at, 10**9, 3.3, "fast"
        )
        for at in range(WATCHED_MAX)
    }
    return found


def shift(member):
    return IncidentShift(
        "payment_failure",
        member,
        int(RNG.integers(10**6)),
        -1,
        "fast",
        *(ms(), ms(), float(RNG.random())),
        interval(),
        ms(),
        *(True, True),
        stopped_ms=ms(),
    )


def incident(shifts, members):
    most = tuple(Contributor(each, 98_765, *(RNG.random(2) * 1e3).tolist()) for each in members[:3])
    affected = tuple(Affected("payment_failure", 5, 9, most) for _ in range(5))
    missed = Excess(*(RNG.random(3) * 1e4).tolist(), *RNG.integers(10**9, size=3).tolist())
    measures = Measures(MS, 5, interval(), missed, affected)
    kept = [shift(members[at % len(members)]) for at in range(shifts)]
    return Incident(incident_name(), CODE, -1, ms(), ms(), kept, ms(), measures=measures)


def open_incident(shifts, members):
    """An incident that goes on, although its market's total is back."""
    found = incident(shifts, members)
    found.over_ms, found.market_measures = 0, found.measures
    return found


def widest(length):
    """Every limit is reached, with names of this length: each watched series is shifted."""
    members = names(length)
    gone = [name(length) for _ in range(KEPT_MAX)]
    """Members that there are no more; their shifts are still kept."""
    kept = [
        KeptShift(
            *("payment_failure", each, number, "fast"),
            *(pane(), pane(), pane()),
            incident=incident_name(),
        )
        for number, each in enumerate(gone)
    ]
    adopted = [("payment_failure", each, int(RNG.integers(10**7))) for each in members]
    kept[0] = KeptShift("market", "all", 3, "fast", pane(), pane(), pane(), 1, 1, adopted)
    return ShiftsRecord(
        watch(members).record(),
        kept,
        20_000,
        # Those that go on, and as many that ended within the hour; the few that are watched again.
        incidents=[
            open_incident(2 * WATCHED_MAX + AGAIN_AN_HOUR, members),
            *(incident(SHIFTS_KEPT, names(length)) for _ in range(INCIDENTS_MAX - 1)),
        ],
        pages=PageLog(1, [PagedIncident(incident_name(), ms()) for _ in range(PAGED_MAX)]),
    )


@pytest.mark.parametrize("length", [25, MEMBER_BYTES_MAX])
def test_where_each_watched_series_is_shifted_and_every_limit_is_reached_the_record_fits(length):
    record = widest(length)
    assert len(record.watch.states) == WATCHED_MAX
    encoded = encode_shifts(record)
    assert len(numbered_encoder()(record)) > PACKED_FROM_BYTES
    assert len(encoded) < OutboxSettings().record_bytes
    assert decode_shifts(encoded) == record


def test_a_packed_record_that_is_broken_is_no_record():
    packed = encode_shifts(widest(25))
    bomb = zlib.compress(b"\0" * (UNPACKED_MAX_BYTES + 1))
    for broken in (packed[:-9], packed[:99] + b"?" + packed[100:], bomb):
        with pytest.raises(msgspec.DecodeError):
            decode_shifts(broken)
