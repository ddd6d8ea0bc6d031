"""The largest record of a market's detectors fits into one record of the outbox."""

from __future__ import annotations

import dataclasses

import numpy as np

from streams.flow.market_shifts import KEPT_MAX, KeptShift, ShiftsRecord, encode_shifts
from streams.flow.shift_watch import ShiftWatch
from streams.index.identifiers import WATCHED_MAX
from streams.index.incident_measures import Affected, Excess, Measures
from streams.index.incidents import INCIDENTS_MAX, SHIFTS_KEPT, Incident, IncidentShift
from streams.index.page_budget import PAGED_MAX, PagedIncident, PageLog
from streams.index.partials import Layout
from streams.index.shift_detector import MEMBERS_AGAIN_MAX
from streams.index.shift_ratio import Contributor, RatioInterval
from streams.index.shift_states import OpenShift
from streams.worker.outbox import OutboxSettings
from tests.support.flow_harness import METHODOLOGY

MINUTE = 29_925_000.25
MS = 1_795_500_000_000
NAME = "PK-20261124T0537-down"
MEMBER = "category", "a_member_of_a_longer_name"
AGAIN_AN_HOUR = 20 * (1 + MEMBERS_AGAIN_MAX)
"""Of the total too. Until a stop is found, and that it is over, three minutes go by at least."""
INTERVAL = RatioInterval(123.0, 456.123456, 0.123456, 0.1, 0.2)


def watch():
    """Detectors of a market with a shift in each of its series."""
    market = METHODOLOGY.markets["PK"]
    others = len(ShiftWatch(Layout(market), METHODOLOGY.shifts, 1.0).series) - len(
        market.categories
    )
    names = tuple(f"member {number}" for number in range(WATCHED_MAX - others))
    layout = Layout(dataclasses.replace(market, categories=names, places=0))
    found = ShiftWatch(layout, METHODOLOGY.shifts, 1.0)
    found.begin(int(MINUTE))
    detectors, rng = found._final, np.random.default_rng(1)
    sizes = detectors.sizes
    for state in (
        *((clock.days, clock.since) for clock in (detectors.fast, detectors.slow)),
        (sizes.size, sizes.pane_size, sizes.next_size, sizes.next_pane_size),
        (sizes.known, sizes.taught, sizes.hour, sizes.block, sizes.term),
        (detectors.held, detectors.silent_until),
    ):
        for part in state:
            part[...] = rng.random(part.shape) * MINUTE
    detectors.open = {
        at: OpenShift(-1, "fast", MINUTE, MINUTE, 0.5, -3.3, 100, 10**9, 3.3, "fast")
        for at in range(WATCHED_MAX)
    }
    return found


def incident(shifts):
    shift = IncidentShift(
        *MEMBER, 3, -1, "fast", MS, MS, 3.123, INTERVAL, MS, True, True, stopped_ms=MS
    )
    most = tuple(Contributor(MEMBER[1], 5, 5.5, 4.5) for _ in range(3))
    affected = tuple(Affected("payment_failure", 5, 9, most) for _ in range(5))
    missed = Excess(-1.5e4, -1.6e4, -1.4e4, -(10**9), -(10**9), -(10**9))
    measures = Measures(MS, 5, INTERVAL, missed, affected)
    return Incident(NAME, "PK", -1, MS, MS, [shift] * shifts, MS, measures=measures)


def open_incident(shifts):
    """An incident that goes on, although its market's total is back."""
    found = incident(shifts)
    found.over_ms, found.market_measures = 0, found.measures
    return found


def test_where_each_watched_series_is_shifted_and_every_limit_is_reached_the_record_fits():
    kept = KeptShift(*MEMBER, 3, "fast", MINUTE, MINUTE, MINUTE, incident=NAME)
    adopted = [(*MEMBER, 1_000_000)] * WATCHED_MAX
    record = ShiftsRecord(
        watch().record(),
        [kept] * (KEPT_MAX - 1)
        + [KeptShift("market", "all", 3, "fast", MINUTE, MINUTE, MINUTE, 1, 1, adopted, NAME)],
        20_000,
        # Those that go on, and as many that ended within the hour; the few that are watched again.
        incidents=[
            open_incident(2 * WATCHED_MAX + AGAIN_AN_HOUR),
            *[incident(SHIFTS_KEPT)] * (INCIDENTS_MAX - 1),
        ],
        pages=PageLog(1, [PagedIncident(NAME, MS)] * PAGED_MAX),
    )
    size_bytes = len(encode_shifts(record))
    assert len(record.watch.states) == WATCHED_MAX
    assert 1_600_000 < size_bytes < OutboxSettings().record_bytes
