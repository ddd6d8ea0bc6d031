"""What a page shows of a series before it pages: by evidence or by a plain fact, without flicker."""

from __future__ import annotations

from streams.index.suspicions import (
    EVIDENCE_MIN,
    FACT_NATS,
    REGULAR_SIZE,
    STILL,
    SUSPICIONS_MAX,
    VAIN_AFTER,
    VAIN_KEPT_MS,
    SpanCount,
    Suspicion,
    SuspicionMemory,
    foremost,
    size_of,
    surprise,
    suspect,
)

NOW = 1_700_000_000_000
MARKET = ("market", "all")


def spans(*counts):
    return [SpanCount(seconds * 1_000, *rest) for seconds, *rest in counts]


def suspicion(dimension="category", member="books", *, direction=-1, evidence=0.1, nats=0.0):
    return Suspicion(dimension, member, direction, NOW - 60_000, NOW, 0, 100.0, evidence, nats)


def test_a_market_of_a_thousand_a_minute_is_suspected_after_ten_silent_seconds():
    found = suspect(MARKET, spans((10, 0, 167.0), (20, 160, 334.0)), 0.0, FACT_NATS, NOW)
    assert (found.observed, found.until_ms - found.since_ms, found.direction) == (0, 10_000, -1)
    assert found.expected_a_minute == 1_002
    assert found.surprise > FACT_NATS
    assert suspect(MARKET, spans((10, 0, 40.0)), 0.0, FACT_NATS, NOW) is None


def test_six_times_a_hundred_a_minute_is_suspected_within_ten_seconds():
    found = suspect(MARKET, spans((10, 100, 16.7), (60, 150, 100.0)), 0.0, FACT_NATS, NOW)
    assert (found.observed, found.direction) == (100, 1)
    assert suspect(MARKET, spans((10, 50, 16.7)), 0.0, FACT_NATS, NOW) is None


def test_evidence_suspects_what_no_second_shows_in_the_span_that_shows_it_most():
    counts = spans((10, 20, 17.0), (60, 130, 100.0), (3_600, 7_900, 6_000.0))
    assert suspect(MARKET, counts, EVIDENCE_MIN / 2, FACT_NATS, NOW) is None
    found = suspect(MARKET, counts, EVIDENCE_MIN, FACT_NATS, NOW)
    assert (found.observed, found.direction, found.surprise) == (7_900, 1, 0.0)
    assert suspect(MARKET, [], 5.0, FACT_NATS, NOW) is None, "nothing is expected of it"


def test_evidence_is_said_beside_a_count_that_goes_its_way():
    """A market that stopped after a jump: "5,954 orders in 15 min, 88 a minute usual; 80 %"."""
    stop, jump = (40, 0, 55.0), (900, 5_954, 1_320.0, REGULAR_SIZE)
    found = suspect(MARKET, spans(stop, jump), 0.8, FACT_NATS, NOW, -1)
    assert (found.observed, found.direction, found.evidence_ratio) == (0, -1, 0.8)
    alone = suspect(MARKET, spans(jump), 0.8, FACT_NATS, NOW, -1)
    assert (alone.observed, alone.direction, alone.evidence_ratio) == (5_954, 1, 0.0)
    assert suspect(MARKET, spans((900, 1_400, 1_320.0)), 0.8, FACT_NATS, NOW, -1) is None


def test_three_times_is_a_fact_within_minutes_where_the_hours_are_regular():
    """A market at 2.5 times for seven minutes was not suspected: 1,936 of 790 in five minutes."""
    regular, bursty = 7e-6, 0.2 / 60
    for noise, suspected in ((regular, True), (bursty, False)):
        span = SpanCount(300_000, 1_500, 790.0, size_of(300_000, noise))
        found = suspect(MARKET, [span], 0.0002, FACT_NATS, NOW)
        assert (found is not None) is suspected
    assert surprise(1_936, 790.0, size_of(300_000, regular)) > 2 * FACT_NATS
    within = [surprise(int(times * 790), 790.0, REGULAR_SIZE) for times in (0.5, 0.7, 1.3, 1.6)]
    assert max(within) < FACT_NATS, "an hour's expectation may err by a third"
    lumps = surprise(2 * 160, 160.0, size_of(60_000, regular))
    assert lumps < FACT_NATS, "every second minute of a shop that delivers every two"


def test_surprise_is_least_for_what_is_expected_and_grows_both_ways():
    around = [surprise(count, 100.0) for count in (0, 10, 50, 100, 200, 400, 800)]
    assert around[3] == 0
    assert around[:4] == sorted(around[:4], reverse=True)
    assert around[3:] == sorted(around[3:])
    assert surprise(5, 0.0) == 0


def test_a_suspicion_stays_until_the_series_surprises_by_half_of_what_it_took():
    memory = SuspicionMemory()
    memory.note(MARKET, 15.0, NOW, shifted=False)
    assert memory.limit(MARKET, NOW) == FACT_NATS * STILL
    memory.note(MARKET, 7.0, NOW, shifted=False)  # a dip of a jump that goes on
    assert memory.limit(MARKET, NOW) == FACT_NATS * STILL
    memory.note(MARKET, 1.0, NOW, shifted=False)
    assert memory.limit(MARKET, NOW) == FACT_NATS, "once may be the true beginning of a shift"


def test_lumps_are_suspected_a_few_times_and_then_have_to_surprise_more():
    def lumps(memory, count, *, shifted=False):
        for at in range(count):
            for nats in (14.0, 20.0, 0.0):
                memory.note(MARKET, nats, NOW + 60_000 * at, shifted=False)
            memory.note(MARKET, 0.0, NOW + 60_000 * at, shifted=shifted)

    memory = SuspicionMemory()
    lumps(memory, VAIN_AFTER - 1)
    assert memory.limit(MARKET, NOW) == FACT_NATS
    lumps(memory, 1)
    assert memory.limit(MARKET, NOW) == 26.0
    assert memory.limit(("category", "books"), NOW) == FACT_NATS
    lumps(memory, 5)
    assert memory.limit(MARKET, NOW) == 26.0, "what does not reach it changes nothing"
    assert memory.limit(MARKET, NOW + VAIN_KEPT_MS + 1) == FACT_NATS
    real = SuspicionMemory()
    lumps(real, 5, shifted=True)
    assert real.limit(MARKET, NOW) == FACT_NATS, "each was a shift"


def test_a_market_explains_its_members_and_a_list_is_bounded():
    total, toys = suspicion("market", "all"), suspicion(member="toys", direction=1)
    assert foremost([suspicion(), toys, total]) == [total, toys]
    assert foremost([suspicion(), toys], explained=frozenset({-1})) == [toys]
    weak, fact = suspicion(evidence=0.06), suspicion(member="art", evidence=0.0, nats=24.0)
    assert foremost([weak, fact]) == [fact, weak]
    many = [suspicion(member=f"m{number}") for number in range(SUSPICIONS_MAX + 3)]
    assert len(foremost(many)) == SUSPICIONS_MAX
