"""The expectation in the flow: seeded, learnt once, published, taken over, revised by factors."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.wire import partition_of
from streams.index.history_records import DeclaredFactor, SeededRow, factor_record, seed_records
from streams.index.hours import LocalHours
from streams.index.methodology import MethodologyError, parse
from streams.index.panes import HOUR_MS, MINUTE_MS, day_number, rfc3339
from streams.index.series import series_table
from streams.publish.journal import journal_records
from tests.support.flow_harness import ROOT, Flow, order, payment
from tests.support.known_histories import season
from tests.support.methodologies import DEMO_TEXT

pytestmark = pytest.mark.slow

DAY = day_number("2026-11-24")
HOURS = LocalHours("Asia/Karachi")
TEN = HOURS.hours_of(DAY).start + 10 * HOUR_MS
"""10:00 in Karachi."""
RATE = 240.0
GIVEN = [
    ("market", "orders"), ("market", "units"), ("market", "sales"), ("market", "payments"),
    ("market", "amount"), ("category", "orders"), ("category", "units"), ("category", "sales"),
    ("payment_method", "payments"), ("payment_method", "amount"),
]  # fmt: skip


def expected_orders(hour_ms: int) -> int:
    return round(RATE * season(HOURS.cell(hour_ms)))


def seeded(flow: Flow, *, market="PK", until=TEN, seed="s1", complete=True, times=1.0) -> None:
    """Six weeks and more of a market that sells only mobiles, one unit of 100 an order, by cod."""
    hours = {}
    for hour_ms in range(until - 46 * 24 * HOUR_MS, until, HOUR_MS):
        count = round(expected_orders(hour_ms) * times)
        three = {"orders": count, "units": count, "sales": 100 * count}
        hours[hour_ms] = [
            SeededRow("market", "all", **three, payments=count, amount=100 * count),
            SeededRow("category", "mobiles_tablets", **three),
            SeededRow("payment_method", "cod", payments=count, amount=100 * count),
        ]
    for key, value in seed_records(market, seed, hours, GIVEN)[: None if complete else -1]:
        flow.book.apply_record(key, value)


class Shop:
    """Produces orders minute by minute, ``rate`` times the expectation."""

    def __init__(self, flow: Flow, name: str = "e") -> None:
        self.flow = flow
        self.name = name
        self.sold = 0
        self.owed = 0.0

    def open(self, start_ms: int, minutes: int, *, times=1.0, read_ms: int | None = None) -> None:
        """``read_ms``: when workers read it; None: as it is sold."""
        for minute in range(minutes):
            at_ms = start_ms + minute * MINUTE_MS
            self.owed += times * expected_orders(at_ms // HOUR_MS * HOUR_MS) / 60
            while self.owed >= 1:
                self.owed -= 1
                self.sold += 1
                name = f"{self.name}{self.sold}"
                self.flow.produce(
                    SourcePartition("orders", self.sold % 2), order(name, at_ms), at_ms
                )
                paid = payment(name, at_ms)
                self.flow.produce(SourcePartition("payments", self.sold % 2), paid, at_ms)
        self.flow.now_ms = read_ms or start_ms + minutes * MINUTE_MS + 10_000
        self.flow.run()


@pytest.fixture
def flow() -> Flow:
    flow = Flow()
    flow.now_ms = TEN
    return flow


def compiled(flow: Flow):
    return flow.compiles[partition_of("PK", flow.partials_partitions)]


def held(flow: Flow):
    return compiled(flow).markets["PK"].expectation.held


def seeded_shop(flow, minutes=90, **how) -> Shop:
    seeded(flow)
    shop = Shop(flow)
    shop.open(TEN, minutes, **how)
    return shop


def test_a_seeded_market_opens_with_demand_near_100(flow):
    seeded_shop(flow)
    index = flow.value("PK", "demand_index_orders:market:all:1h")
    assert index.status == "ok"
    assert index.value == pytest.approx(100, abs=3)
    assert index.observed == flow.value("PK", "orders:market:all:1h").value
    assert index.value == 100 * index.observed * 1_000_000 / round(index.expected * 1_000_000)
    assert index.vintage == "2026-11-24"
    for name in ("units:market:all", "sales:market:all", "orders:category:mobiles_tablets"):
        assert flow.value("PK", f"demand_index_{name}:1h").value == pytest.approx(100, abs=3)
    assert flow.value("PK", "payment_index:payment_method:cod:1h").value == pytest.approx(
        100, abs=3
    )
    assert flow.value("PK", "mix_shift:market:all:1h").value == pytest.approx(0, abs=0.02)


def test_every_value_has_the_expectation_of_what_it_counts(flow):
    seeded_shop(flow, times=1.5)
    orders = flow.value("PK", "orders:market:all:5m")
    assert orders.lower < orders.expected < orders.upper
    assert orders.expected == flow.value("PK", "demand_index_orders:market:all:5m").expected
    share = flow.value("PK", "category_share_by_orders:category:mobiles_tablets:5m")
    assert share.expected == pytest.approx(orders.expected, rel=1e-3)
    hour = flow.value("PK", "orders:market:all:1h")
    assert hour.value > hour.upper, "half as much again is not expected"
    assert flow.value("PK", "demand_index_orders:market:all:1h").value == pytest.approx(150, abs=5)


def test_a_silence_is_a_falling_index_and_not_a_missing_one(flow):
    seeded_shop(flow)
    flow.now_ms += 10 * MINUTE_MS
    flow.run()
    index = flow.value("PK", "demand_index_orders:market:all:5m")
    assert (index.value, index.status, index.observed) == (0.0, "ok", 0)
    assert index.lower > 0


def test_without_history_the_indices_say_that_they_are_warming(flow):
    Shop(flow).open(TEN, 90)
    index = flow.value("PK", "demand_index_orders:market:all:1h")
    assert (index.value, index.status, index.expected) == (None, "warming", None)
    assert flow.value("PK", "orders:market:all:1h").status == "ok"


def test_a_window_that_is_not_covered_is_filling_and_a_covered_part_is_measured(flow):
    seeded_shop(flow, minutes=40)
    assert flow.value("PK", "demand_index_orders:market:all:24h").status == "filling"
    part = flow.value("PK", "demand_index_orders:market:all:1h")
    assert part.covered == pytest.approx(40 / 60, abs=0.01)
    assert part.value == pytest.approx(100, abs=5), "E of the covered part only"


def test_a_member_that_never_sold_has_no_index(flow):
    seeded_shop(flow)
    index = flow.value("PK", "demand_index_orders:category:books:1h")
    assert (index.value, index.status, index.expected) == (None, "no_data", 0)
    # The seed has no regions, so nothing is known of them, and their status says so.
    assert flow.value("PK", "demand_index_orders:region:punjab:1h").status == "warming"


def test_a_seed_counts_only_when_it_is_complete(flow):
    seeded(flow, complete=False)
    Shop(flow).open(TEN, 90)
    assert not held(flow)
    seeded(flow)
    before = len(flow.history)
    flow.run()
    index = flow.value("PK", "demand_index_orders:market:all:1h")
    assert (index.status, index.revision) == ("ok", 1)
    revisions = [each for published in flow.history[before:] for each in published.revisions]
    assert {revision.cause for revision in revisions} == {"definition"}


def test_vintages_are_journaled_and_stored_once(flow):
    seeded_shop(flow)
    learnt = [each for each in flow.history for each in each.vintages]
    assert [each.held.name for each in learnt] == ["2026-11-24", "2026-11-23", "2026-11-25"]
    first = next(each for each in flow.history if each.vintages)
    journaled = [msgspec.json.decode(record.value) for record in journal_records(first, "journal")]
    vintage = next(
        each for each in journaled if each["kind"] == "vintage" and each["vintage"] == "2026-11-24"
    )
    schema = json.loads((ROOT / "config/schemas/journal.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(vintage)
    series = {
        (each["dimension"], each["member"], each["measure"]): each for each in vintage["series"]
    }
    own = series["market", "all", "orders"]
    table = series_table(compiled(flow).markets["PK"].ledger.layout)
    at = table.at[("market", "all"), "orders"]
    assert tuple(own["expected"]) == held(flow)[DAY].vintage.expected[at]
    assert own["first_hour"] == rfc3339(HOURS.hours_of(DAY).start - 3 * HOUR_MS)
    tables = flow.tables[partition_of("PK", flow.partials_partitions)]
    days = [key.decode().split("|")[2] for key in tables if key.startswith(b"e|PK|")]
    assert sorted(days) == sorted({str(each.held.vintage.day) for each in learnt})


def test_the_vintage_of_today_is_published_first_and_the_others_wait_a_step(flow):
    """Five markets' three vintages each took 0.9 s before the first value of any of them."""
    seeded_shop(flow)
    learnt = [[each.held.name for each in published.vintages] for published in flow.history]
    assert [names for names in learnt if names] == [["2026-11-24"], ["2026-11-23", "2026-11-25"]]
    first = next(published for published in flow.history if published.vintages)
    again = flow.history[flow.history.index(first) + 1]
    assert again.as_of_ms == first.as_of_ms
    assert not again.revisions, "nothing that was shown was compared with the others"


def test_postponed_vintages_are_not_learnt_while_values_are_awaited(flow):
    seeded_shop(flow)
    seeded(flow, seed="s2", times=1.5)
    market = compiled(flow).markets["PK"]
    assert market.expectation.take_history()

    def learn(**how):
        until_ms = market.progress.hours_limit()
        found = market.expectation.learn(
            market._observed(), until_ms, market.progress.newest_ms, **how
        )
        return [each.name for each in found]

    assert learn(again=True, awaited=True) == ["2026-11-24.2"]
    assert learn(again=False, awaited=True) == []
    assert market.behind
    assert learn(again=False, awaited=False) == ["2026-11-23.2", "2026-11-25.2"]
    assert not market.behind


def test_yesterdays_vintage_is_not_put_off_where_a_window_begins_yesterday(flow):
    shop = Shop(flow)
    shop.open(TEN - 20 * HOUR_MS, 10)
    shop.open(TEN, 90)
    assert not held(flow)
    seeded(flow)
    before = len(flow.history)
    flow.run()
    learnt = [
        [each.held.name for each in published.vintages] for published in flow.history[before:]
    ]
    assert [names for names in learnt if names] == [["2026-11-23", "2026-11-24"], ["2026-11-25"]]


def test_a_new_owner_learns_what_its_predecessor_had_put_off(flow):
    seeded_shop(flow)
    before = {day: each.vintage for day, each in held(flow).items()}
    partition = partition_of("PK", flow.partials_partitions)
    tables = flow.tables[partition]
    for key in [key for key in tables if key.startswith(b"e|PK|") and str(DAY) not in key.decode()]:
        del tables[key]  # as if it had ended after its first publication
    flow.start_compile(partition)
    flow.run()
    assert {day: each.vintage for day, each in held(flow).items()} == before
    assert not compiled(flow).behind


@pytest.mark.deep
def test_a_new_owner_learns_days_put_off_before_yesterday(flow):
    shop = seeded_shop(flow)
    for day in (1, 2, 3):
        shop.open(HOURS.hours_of(DAY + day).start, 5)
    before = {day: each.vintage for day, each in held(flow).items()}
    assert sorted(before) == [DAY + day for day in (-1, 0, 1, 2, 3, 4)]
    partition = partition_of("PK", flow.partials_partitions)
    tables = flow.tables[partition]
    for key in [key for key in tables if key.startswith(f"e|PK|{DAY + 1}|".encode())]:
        del tables[key]
    flow.start_compile(partition)
    flow.run()
    assert {day: each.vintage for day, each in held(flow).items()} == before


def test_a_day_whose_vintage_expired_has_no_expectation_though_its_hours_were_read(flow):
    seeded_shop(flow)
    market = compiled(flow).markets["PK"]
    start_ms = TEN + 5 * HOUR_MS  # of which no part was read before
    assert market.expectation.of_span(start_ms, start_ms + HOUR_MS) is not None
    until_ms = market.progress.hours_limit()
    awake_ms = TEN + 70 * 24 * HOUR_MS  # the machine slept; detectors have not read a minute since
    found = market.expectation.learn(
        market._observed(), until_ms, awake_ms, again=False, awaited=False
    )
    assert (found, market.expectation.held) == ([], {})
    assert market.expectation.of_span(start_ms, start_ms + HOUR_MS) is None
    assert market.expectation.of_span(start_ms, start_ms + MINUTE_MS) is None


def test_a_takeover_finds_the_same_vintages_and_learns_nothing_again(flow):
    shop = seeded_shop(flow)
    before = dict(held(flow))
    published = {value.field: value for value in flow.published["PK"].values}
    flow.start_compile(partition_of("PK", flow.partials_partitions))
    flow.run()
    assert {day: each.vintage for day, each in held(flow).items()} == {
        day: each.vintage for day, each in before.items()
    }
    assert not flow.history[-1].vintages
    assert {value.field: value for value in flow.published["PK"].values} == published
    shop.open(TEN + 91 * MINUTE_MS, 2)
    assert not flow.history[-1].vintages


def test_without_its_table_a_new_owner_learns_the_same_integers_anew(flow):
    seeded_shop(flow)
    before = {day: each.vintage for day, each in held(flow).items()}
    tables = flow.tables[partition_of("PK", flow.partials_partitions)]
    for key in [key for key in tables if key.startswith(b"e|")]:
        del tables[key]
    flow.start_compile(partition_of("PK", flow.partials_partitions))
    flow.run()
    assert {day: each.vintage for day, each in held(flow).items()} == before


def test_the_next_days_vintage_is_there_before_the_day_begins(flow):
    shop = seeded_shop(flow)
    midnight = HOURS.hours_of(DAY + 1).start
    shop.open(midnight - 5 * MINUTE_MS, 20)
    assert sorted(held(flow)) == [day for day in sorted(held(flow)) if day <= DAY + 2]
    assert DAY + 2 in held(flow)
    assert flow.value("PK", "orders:market:all:1m").vintage == "2026-11-25"
    day = flow.day_value("PK", "orders", "market", "all", "2026-11-25")
    assert day.expected > 0
    assert day.vintage == "2026-11-25"


@pytest.mark.deep
def test_a_wholly_observed_hour_beats_the_seed(flow):
    shop = seeded_shop(flow, times=3.0)
    for hour in range(2, 14):
        shop.open(TEN + hour * HOUR_MS, 60, times=3.0)
    market = compiled(flow).markets["PK"]
    calendar_day = DAY + 3  # learns from the 24th and 25th too, as soon as they are final
    seeded(flow, until=TEN + 72 * HOUR_MS, seed="s2")
    shop.open(HOURS.hours_of(DAY + 2).start + 5 * MINUTE_MS, 2)
    series = market.expectation.table.at[("market", "all"), "orders"]
    assert calendar_day in held(flow)
    from streams.flow.market_expectation import Observed
    from streams.index.hours import calendar_of

    observed = Observed(
        market.ledger, *(market.ledger.first_hour_ms(t) for t in ("orders", "payments"))
    )
    calendar = calendar_of(HOURS, calendar_day)
    counts, known = market.expectation._hours_known(observed, calendar)
    by_hour = dict(zip(calendar.hours_ms, counts[:, series], strict=True))
    assert known[:, series].all()
    assert by_hour[TEN + 3 * HOUR_MS] == pytest.approx(
        3 * expected_orders(TEN + 3 * HOUR_MS), abs=2
    )
    assert by_hour[TEN - 3 * HOUR_MS] == expected_orders(TEN - 3 * HOUR_MS), "the seed's"
    assert by_hour[TEN + 20 * HOUR_MS] == 0, "nobody bought, though the seed says so"


def declare(flow, factor, *, dimension="market", member="all", hours=2):
    about = DeclaredFactor(
        "PK", dimension, member, rfc3339(TEN), rfc3339(TEN + hours * HOUR_MS), factor
    )
    flow.book.apply_record(*factor_record(about))
    return about


def test_a_declared_factor_counts_at_once(flow):
    seeded_shop(flow, times=2.0)
    assert flow.value("PK", "demand_index_orders:market:all:1h").value == pytest.approx(200, abs=5)
    before = flow.value("PK", "orders:market:all:5m")
    about = declare(flow, 2.0)
    published = len(flow.history)
    flow.run()
    after = flow.value("PK", "orders:market:all:5m")
    assert after.expected == pytest.approx(2 * before.expected, abs=1e-5)
    assert flow.value("PK", "demand_index_orders:market:all:1h").value == pytest.approx(100, abs=3)
    revisions = [each for later in flow.history[published:] for each in later.revisions]
    assert {each.cause for each in revisions} == {"definition"}
    flow.book.apply_record(about.key, None)
    flow.run()
    assert flow.value("PK", "orders:market:all:5m").expected == before.expected


def test_a_factor_of_a_member_moves_that_member_alone(flow):
    seeded_shop(flow)
    market = flow.value("PK", "orders:market:all:1h").expected
    member = flow.value("PK", "orders:category:mobiles_tablets:1h").expected
    declare(flow, 3.0, dimension="category", member="mobiles_tablets")
    flow.run()
    assert flow.value("PK", "orders:market:all:1h").expected == market
    assert flow.value("PK", "orders:category:mobiles_tablets:1h").expected == pytest.approx(
        3 * member
    )


def test_changes_compare_whole_hours_with_the_same_hours_before(flow):
    shop = Shop(flow)
    start = HOURS.hours_of(DAY).start + 20 * HOUR_MS
    shop.open(start, 60)
    shop.open(start + 24 * HOUR_MS, 60, times=1.5)
    shop.open(start + 25 * HOUR_MS, 2)
    day = flow.value("PK", "change_day:market:all:1h")
    assert day.as_of == rfc3339(start + 25 * HOUR_MS)
    assert day.value == pytest.approx(0.5, abs=0.02)
    hours = compiled(flow).markets["PK"].ledger.hour_sum
    now, before = (hours(start + ago * HOUR_MS)[0] for ago in (24, 0))
    assert (day.value, day.observed, day.status) == ((now - before) / before, now, "ok")
    assert flow.value("PK", "change_day:category:mobiles_tablets:1h").value == day.value
    books = flow.value("PK", "change_day:category:books:1h")
    assert (books.value, books.status) == (None, "no_data")
    week = flow.value("PK", "change_week:market:all:1h")
    assert (week.value, week.status, week.covered) == (None, "filling", 0.0)
    long = flow.value("PK", "change_day:market:all:24h")
    assert (long.value, long.status) == (None, "filling")
    assert 0 < long.covered < 1


def test_where_clocks_change_the_same_local_hour_is_compared():
    london = LocalHours("Europe/London")
    noon = london.hours_of(day_number("2026-10-26")).start + 12 * HOUR_MS
    assert noon - london.days_before(noon, 1) == 24 * HOUR_MS
    sunday = london.hours_of(day_number("2026-10-25")).stop - 12 * HOUR_MS
    assert sunday - london.days_before(sunday, 1) == 25 * HOUR_MS
    assert noon - london.days_before(noon, 7) == 169 * HOUR_MS


EID = """
[[events]]
name = "Eid"
markets = ["PK"]
from = 2026-11-24
to = 2026-11-25
factor = 2.0
"""


def test_an_event_of_the_methodology_counts_from_its_first_hour():
    methodology = parse(DEMO_TEXT + EID)
    assert methodology.content_hash == parse(DEMO_TEXT).content_hash, "no new edition"
    plain, eid = Flow(), Flow(methodology)
    for flow in (plain, eid):
        flow.now_ms = TEN
        seeded_shop(flow)
    before = plain.value("PK", "orders:market:all:1h").expected
    assert eid.value("PK", "orders:market:all:1h").expected == pytest.approx(2 * before)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [("to = 2026-11-24", "`from` must be before"), ("factor = -1.0", "factor must")],
)
def test_a_wrong_event_is_named(wrong, what):
    name = wrong.split(" ")[0]
    lines = [wrong if line.startswith(name) else line for line in EID.splitlines()]
    text = DEMO_TEXT + "\n".join(lines)
    with pytest.raises(MethodologyError, match="Eid") as caught:
        parse(text)
    assert what in str(caught.value)


def test_a_seed_of_another_market_changes_nothing(flow):
    seeded(flow, market="BD")
    Shop(flow).open(TEN, 30)
    assert not held(flow)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b"{}"),
        (b"XX|seed|s", b"{}"),
        (b"PK|nothing|s", b"{}"),
        (b"PK|seed|s", b"not json"),
        (b"PK|hour|x|s", b'{"seed":"s","market":"PK","hour":"2026-11-24T10:30:00Z","rows":[]}'),
    ],
)
def test_an_invalid_record_is_skipped_and_reported(flow, key, value):
    flow.book.apply_record(key, value)
    assert len(flow.book.take_refused()) == 1
    assert not flow.book.refused


def test_an_import_of_old_data_has_no_expectation(flow):
    seeded(flow)
    flow.now_ms = TEN + 400 * 24 * HOUR_MS
    old = TEN + HOUR_MS
    for number in range(10):
        flow.produce(SourcePartition("orders", 0), order(f"o{number}", old), old)
        flow.produce(SourcePartition("payments", 0), payment(f"o{number}", old), old)
    flow.run()
    assert flow.value("PK", "orders:market:all:1m").expected is None
    with pytest.raises(KeyError):
        flow.value("PK", "demand_index_orders:market:all:1m")
