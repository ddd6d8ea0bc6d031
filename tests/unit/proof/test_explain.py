"""Explanations of all that a market publishes: each equal, and unequal once a field is changed."""

from __future__ import annotations

import io
import re
from collections import defaultdict

import msgspec
import pytest
from rich.console import Console
from support.bases import based
from support.explained import HOURS, MIDNIGHT, Market, journal, stored, values_log
from support.flow_harness import METHODOLOGY, ROOT, order

from streams.flow.wire import PartialKey, decode_partial, parsed_key, partition_of
from streams.index.history_records import DeclaredFactor, factor_record
from streams.index.indices import SHOPPER_INDICES
from streams.index.learning import WHOLE, Factor
from streams.index.panes import HOUR_MS, MINUTE_MS, rfc3339
from streams.index.values import Fence, Value
from streams.proof.audit.expected_values import is_measured
from streams.proof.explain.choosing import NotFoundError, choose
from streams.proof.explain.explanation import explain_value
from streams.proof.explain.explanation_types import (
    Asked,
    Closed,
    CountedRows,
    Journal,
    Known,
    PublishedValue,
)
from streams.proof.explain.formula_words import FORMULAS, formula_of
from streams.proof.explain.gather import JournalSearch
from streams.proof.explain.journal_query import query_of
from streams.proof.explain.made_of import RowsRead, why_not_rows
from streams.proof.explain.print_explanation import show
from streams.proof.recompute.formulas import day_values, shopper_values, window_values
from streams.proof.recompute.sums import Sums
from streams.publish.journal import version_of
from streams.records.journal_record import decode_journal

PK = METHODOLOGY.markets["PK"]
OPENED = MIDNIGHT - 27 * HOUR_MS


class Published:
    """Everything that a market in the harness published, to explain from."""

    def __init__(self, market: Market, factors=()):
        records = stored(market.flow)
        self.factors = list(factors)
        self.values = {
            key: PublishedValue(held.value, held.version, held.where, held.written_ms)
            for key, held in values_log(records).markets["PK"].values.items()
        }
        number = partition_of("PK", market.flow.partials_partitions)
        self.table = market.flow.tables[number]
        self.sent = [
            (key, decode_partial(each.value), each.timestamp_ms)
            if isinstance(key := parsed_key(each.key), PartialKey) and each.value is not None
            else (key, None, 0)
            for each in market.flow.partials[number].records
        ]
        self.journal = [
            (each.where, decode_journal(each.value), version_of(each.headers))
            for each in journal(records)
        ]

    def rows(self, held, *, again=False):
        """What the value counts, from partials and merged table; ``again``: all rows came once more."""
        rows = RowsRead(held, PK, METHODOLOGY, HOURS)
        for offset, (key, record, stamp_ms) in enumerate(self.sent * (2 if again else 1)):
            rows.log_end = offset
            if record is not None:
                rows.take_row(key, record, offset, stamp_ms)
        for offset, (key, content) in enumerate(self.table.items()):
            rows.take_table(key, content, offset)
        return rows.made_of("ecindex.partials-0", "merged-0")

    def explain(self, held, *, kinds=("vintage", "hour", "day", "revision", "base"), rows=None):
        search = JournalSearch(query_of(held.value, PK, HOURS), METHODOLOGY.edition)
        for where, record, version in self.journal:
            if record.kind in kinds:
                search.apply_record(where, record, version)
        known = Known(self.values, search.found, self.factors, rows)
        return explain_value(held, known, PK, edition=METHODOLOGY.edition)

    def of(self, index, member="all", window="1h", **asked):
        return choose(self.values, Asked("PK", index, member, window, **asked))


@pytest.fixture(scope="module")
def market():
    """A day of sales, then half an hour over midnight in small steps."""
    base = based("PK", "2026-11-23", "2026-11-24")
    found = Market(rate=40.0, seeded_until=OPENED, methodology=base)
    found.open(OPENED, 27 * 60 - 20)
    for minute in range(-20, 12, 8):
        found.open(MIDNIGHT + minute * MINUTE_MS, 8)
    return found


@pytest.fixture(scope="module")
def published(market):
    return Published(market)


def test_every_value_of_every_index_is_explained_to_the_last_digit(published):
    found, statuses = defaultdict(int), defaultdict(set)
    for held in published.values.values():
        explanation = published.explain(held)
        assert explanation.equal, msgspec.json.encode(explanation)
        assert explanation.published == explanation.recomputed == held.value.value
        found[held.value.index] += 1
        statuses[held.value.index].add(held.value.status)
    assert found.keys() == FORMULAS.keys()
    for index, seen in statuses.items():
        assert "ok" in seen or (index, seen) == ("change_week", {"filling"}), (index, seen)


def test_every_index_of_the_contract_has_a_formula_and_a_heading():
    table = (ROOT / "docs/contract.md").read_text().partition("## A value")[2].partition("\n- ")[0]
    named = set()
    for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        names = re.findall(r"`(\w+)`", row)
        if ".." in row:  # orders_valid .. sales_net
            names = [f"{a}_{b}" for a in ("orders", "units", "sales") for b in ("valid", "net")]
        named.update(names)
    assert named == FORMULAS.keys()
    headings = re.findall(r"^## (.*)$", (ROOT / "docs/methodology.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    assert {formula.anchor for formula in FORMULAS.values()} <= anchors
    assert formula_of(value("orders", window="day", day="2026-11-23")).anchor in anchors


def value(index, **fields):
    given = {
        "market": "PK", "index": index, "dimension": "market", "member": "all", "window": "1h",
        "as_of": rfc3339(MIDNIGHT), "value": 6, "unit": "count", "observed": 6, "covered": 1.0,
        "n": 6, "status": "ok", "phase": "live", "revision": 0, "edition": 1,
    }  # fmt: skip
    return Value(**given | fields)


def recorded(index, **fields):
    return PublishedValue(
        value(index, **fields), Fence(1, 0, 0, MIDNIGHT, 1), "values-0@1", MIDNIGHT
    )


def alone(held, *others, found=None, rows=None):
    values = {each.value.key: each for each in (held, *others)}
    return explain_value(held, Known(values, found or Journal(), [], rows), PK, edition=1)


def test_a_share_is_made_of_the_records_of_both_its_sides():
    share = recorded(
        "category_share_by_sales", dimension="category", member="books", unit="ratio",
        value=0.25, observed=500, n=9,
    )  # fmt: skip
    sales = recorded("sales", dimension="category", member="books", observed=500, value=500)
    total = recorded("sales", observed=2_000, value=2_000)
    explanation = alone(share, sales, total)
    assert explanation.equal
    assert explanation.calculation == "500 / 2000 = 0.25"
    assert [(t.name, t.value) for t in explanation.terms] == [
        ("sales of books", 500),
        ("sales of the market", 2_000),
    ]
    tampered = alone(share, sales, total._replace(value=value("sales", observed=1_000)))
    assert (tampered.equal, tampered.recomputed) == (False, 0.5)


def test_a_share_of_money_whose_whole_was_not_read_cannot_be_explained():
    share = recorded(
        "category_share_by_sales", dimension="category", member="books", unit="ratio",
        value=0.25, observed=500, n=9,
    )  # fmt: skip
    explanation = alone(share)
    assert (explanation.equal, explanation.recomputed) == (False, None)
    check = explanation.checks[-1]
    assert (check.equal, check.why) == (None, "the sales of the market are not in what was read")


def test_every_counted_index_is_made_by_the_second_implementation():
    windows = {each.index for each in window_values(PK, Sums(), Sums())}
    days = {each.index for each in day_values(PK, Sums())}
    shoppers = {each.index for each in shopper_values(Sums())}
    measured = {name for name in FORMULAS if is_measured(name)}
    assert windows | days | shoppers | measured == FORMULAS.keys()
    assert not measured & (windows | days | shoppers)


def test_a_net_day_names_what_was_cancelled_and_refunded():
    day = {"window": "day", "day": "2026-11-23", "unit": "minor"}
    explanation = alone(
        recorded("sales_net", observed=3_500, value=3_500, **day),
        recorded("sales_valid", observed=5_000, value=5_000, **day),
        recorded("sales", observed=7_000, value=7_000, **day),
    )
    assert explanation.calculation == "placed 7000 - cancelled 2000 - refunded 1500 = 3500"
    assert explanation.methodology == "docs/methodology.md#counted-the-day-book"
    assert explanation.equal


@pytest.mark.parametrize(
    ("index", "member", "window", "change"),
    [
        ("orders", "all", "1h", {"value": 7}),
        ("orders", "books", "1h", {"value": 7}),
        ("demand_index_orders", "all", "24h", {"value": 100.0}),
        ("demand_index_orders", "all", "24h", {"expected": 1.5}),
        ("demand_index_sales", "books", "1h", {"observed": 1}),
        ("payment_index", "cod", "5m", {"upper": 1e9}),
        ("mix_shift", "all", "1h", {"observed": 1}),
        ("mix_shift", "all", "24h", {"value": 0.5}),
        ("change_day", "all", "1h", {"value": 0.25}),
        ("payment_failure_ratio", "card", "24h", {"observed": 10_000}),
        ("digital_share", "all", "24h", {"value": 0.5}),
        ("basket_sales", "all", "24h", {"value": 1.0}),
        ("orders", "all", "5m", {"status": "no_data"}),
        ("sales_level_index", "all", "day", {"value": 99.0}),
        ("sales_level_index", "all", "day", {"observed": 1}),
        ("sales_level_index", "all", "day", {"expected": 1.0}),
        ("sales_level_index", "all", "day", {"status": "warming"}),
        ("sales_level_index", "all", "day", {"vintage": "2026-11-23/2026-11-23.2"}),
    ],
)
def test_a_changed_field_makes_it_unequal(published, index, member, window, change):
    dimension = "payment_method" if member == "cod" else None
    day = "2026-11-23" if window == "day" else None
    held = published.of(index, member, window, dimension=dimension, day=day)
    assert published.explain(held).equal
    changed = msgspec.structs.replace(held.value, **change)
    assert not published.explain(held._replace(value=changed)).equal


def test_demand_over_midnight_is_summed_over_the_hours_of_two_vintages(published):
    held = published.of("demand_index_orders", "all", "24h")
    explanation = published.explain(held)
    assert {hour.vintage for hour in explanation.hours} == {"2026-11-23", "2026-11-24"}
    assert len(explanation.hours) == 25
    assert sum(hour.expected for hour in explanation.hours) == explanation.expectation.exact
    assert sum(hour.seconds for hour in explanation.hours) == 24 * 3_600
    whole = [hour for hour in explanation.hours if hour.seconds == 3_600]
    for hour in whole:
        assert hour.expected == pytest.approx(hour.level * hour.season * 1e6, abs=1)
    assert 0 < sum(hour.closed_observed for hour in whole[:-1]) <= held.value.observed
    assert explanation.value.vintage == explanation.expectation.vintage == "2026-11-24"
    index = 100 * 1_000_000 * held.value.observed / explanation.expectation.exact
    assert explanation.recomputed == index
    assert explanation.methodology == "docs/methodology.md#measured-demand"


def test_a_level_names_its_base_and_the_net_sales_of_its_day(published):
    held = published.of("sales_level_index", "all", "day", day="2026-11-23")
    explanation = published.explain(held)
    net = held.value.observed
    assert explanation.equal
    assert explanation.calculation == f"100 x {net} x 1 / {net} = 100.0"
    assert [(term.name, term.value) for term in explanation.terms] == [
        ("net sales of the day", net),
        ("net sales of the 1 days of base 2026-11-23/2026-11-23", net),
    ]
    assert explanation.methodology == "docs/methodology.md#measured-the-level"
    forgotten = published.explain(held, kinds=())
    assert not forgotten.equal
    assert "is not the current one, and it is no longer in the journal" in forgotten.checks[-1].why


def test_the_operators_factor_is_named_and_counts():
    market = Market(rate=240.0)
    eid = DeclaredFactor(
        "PK", *WHOLE, rfc3339(MIDNIGHT + HOUR_MS), rfc3339(MIDNIGHT + 2 * HOUR_MS), 2.0
    )
    market.flow.book.apply_record(*factor_record(eid))
    market.open(MIDNIGHT, 100)
    published = Published(market, factors=[eid.as_factor()])
    held = published.of("demand_index_orders")
    explanation = published.explain(held)
    assert explanation.equal
    assert [hour.factor for hour in explanation.hours] == [None, 2.0]
    assert [hour.seconds for hour in explanation.hours] == [20 * 60, 40 * 60]
    forgotten = Published(market).explain(held)
    assert not forgotten.equal
    assert [check.what for check in forgotten.checks if check.equal is False][:2] == [
        "expected",
        "lower",
    ]
    assert isinstance(published.factors[0], Factor)


def test_a_revision_is_explained_with_its_cause():
    late = Market(rate=240.0)
    late.open(MIDNIGHT, 30)
    before = Published(late).of("orders", "all", "5m")
    late.send("orders", order("late", MIDNIGHT + 29 * MINUTE_MS), MIDNIGHT + 30 * MINUTE_MS)
    late.flow.run()
    published = Published(late)
    held = published.of("orders", "all", "5m")
    assert held.value.as_of == before.value.as_of
    explanation = published.explain(held)
    assert explanation.equal
    ((revision),) = explanation.revisions
    assert (revision["cause"], revision["previous"], revision["value"]) == (
        "late",
        before.value.value,
        before.value.value + 1,
    )


def test_without_its_vintage_the_expectation_is_taken_from_the_value(published):
    held = published.of("demand_index_orders", "all", "24h")
    explanation = published.explain(held, kinds=("hour",))
    assert explanation.equal, "the double tells which integer it was"
    assert explanation.expectation is None
    assert any("its vintage is gone" in note for note in explanation.notes)
    cut = published.explain(published.of("mix_shift", "all", "24h"), kinds=("hour",))
    assert not cut.equal, "cannot be told is not equal"
    assert "400 days" in cut.checks[-1].why


def test_a_change_without_the_earlier_closings_cannot_be_explained(published):
    explanation = published.explain(published.of("change_day", "all", "1h"), kinds=("vintage",))
    assert not explanation.equal
    assert explanation.recomputed is None
    assert "is no longer in the journal" in explanation.checks[-1].why


def test_a_change_is_made_of_the_hour_closings_of_the_same_local_hours():
    week_ago = MIDNIGHT - 7 * 24 * HOUR_MS - HOUR_MS
    held = recorded("change_week", unit="ratio", value=0.5, observed=6)
    closed = Closed(held.version, "journal-0@1", value("orders", observed=4))
    explanation = alone(held, found=Journal(closings={("hour", week_ago): closed}))
    assert explanation.equal
    assert explanation.calculation == "(6 - 4) / 4 = 0.5"
    assert [hour.hour for hour in explanation.hours] == [
        rfc3339(week_ago),
        rfc3339(MIDNIGHT - HOUR_MS),
    ]
    empty = alone(held, found=Journal(closings={("hour", week_ago): Closed(held.version, "j")}))
    assert (empty.equal, empty.recomputed) == (False, None)


def test_a_closing_is_named_beside_the_window_that_it_closes(published):
    day = published.of("orders", "all", "day", day="2026-11-23")
    assert published.explain(day).closing is None, "a day closes after 35 days"
    hour = published.of("orders", "all", "1h")
    at = msgspec.structs.replace(hour.value, as_of=rfc3339(MIDNIGHT - 2 * HOUR_MS))
    closing = published.explain(hour._replace(value=at)).closing
    assert closing["observed"] == closing["value"] > 0


def test_what_is_estimated_is_made_of_its_parts_and_its_error():
    shoppers = recorded(
        "shoppers", value=200, observed=200, n=300, lower=193.5, upper=206.5, unit="count"
    )
    each = recorded(
        "orders_per_shopper", value=1.5, observed=300, n=300, unit="ratio",
        lower=300 / 206.5, upper=300 / 193.5,
    )  # fmt: skip
    explanation = alone(each, shoppers)
    assert explanation.equal
    assert explanation.calculation == "300 / 200 = 1.5"
    narrow = shoppers._replace(value=value("shoppers", value=200, observed=200, n=300, lower=199.0))
    assert [check.what for check in alone(narrow).checks if check.equal is False] == [
        "lower",
        "upper",
    ]
    nobody = recorded("shoppers", value=None, observed=0, n=0, status="no_data")
    assert alone(nobody).equal


def test_what_is_not_there_or_several_says_what_there_is(published):
    with pytest.raises(
        NotFoundError, match="--dimension, one of category, channel, payment_method"
    ):
        published.of("orders", "other")
    assert published.of("orders", "other", dimension="channel").value.dimension == "channel"
    with pytest.raises(NotFoundError, match="it has category appliances, category"):
        published.of("category_share_by_orders", "boks")
    with pytest.raises(NotFoundError, match="has no mix_shift of day; it has amount, "):
        published.of("mix_shift", "all", "day", day="2026-11-23")
    with pytest.raises(NotFoundError, match="has no value of day 2020-01-01"):
        published.of("orders", "all", "day", day="2020-01-01")


def test_a_repeated_closing_counts_once_and_the_later_version_last(published):
    held = published.of("change_day", "all", "1h")
    plain = published.explain(held)
    twice = Published.__new__(Published)
    twice.values, twice.factors = published.values, []
    twice.journal = [each for each in published.journal for _ in range(2)]
    assert twice.explain(held).terms == plain.terms


def test_for_people_each_step_is_printed_on_a_narrow_screen(published):
    stream = io.StringIO()
    held = published.of("demand_index_orders", "all", "24h")
    explanation = published.explain(held)
    show(explanation, Console(file=stream, width=80))
    text = stream.getvalue()
    for step in ("Formula", "Counted", "Expected", "Revisions", "The number again"):
        assert f"\n{step}\n" in text
    assert "  hour (Asia/Karachi)" in text
    assert "T00:00+05:00 " in text, "midnight of the market, not of Greenwich"
    assert "…" not in text
    head = next(line for line in text.splitlines() if "hour (Asia/Karachi)" in line)
    assert "expected" in head
    assert "factor" not in head, "there is none"
    assert text.splitlines()[-1] == (
        f"published {held.value.value}, recomputed {held.value.value}: equal to the last digit"
    )


def test_a_count_is_made_of_the_rows_that_had_been_applied(published):
    """In the harness each row is gone as soon as it is merged, as after compaction."""
    one_of_each = {
        (held.value.index, held.value.window): held for held in published.values.values()
    }
    equal, sources = defaultdict(set), set()
    for held in one_of_each.values():
        if why_not_rows(held, METHODOLOGY.edition):
            assert held.value.index in {*SHOPPER_INDICES, "change_day", "change_week"}
            continue
        explanation = published.explain(held, rows=published.rows(held))
        equal[held.value.window].add(counted(explanation).equal)
        sources |= {part.source for part in explanation.made_of}
    assert equal == {window: {True} for window in ("1m", "5m", "1h", "24h", "day")}
    assert {"orders-0", "payments-1", "merged hours", "merged minutes"} <= sources


@pytest.fixture(scope="module")
def open_count(published):
    """A count of the newest window, of which a row is not merged yet."""
    for held in published.values.values():
        if not why_not_rows(held, METHODOLOGY.edition) and held.value.window == "5m":
            made = published.rows(held)
            if not made.why and any(part.through is not None for part in made.parts):
                return held
    raise AssertionError


def counted(explanation):
    (check,) = [each for each in explanation.checks if each.what == "counted"]
    return check


def test_the_rows_of_a_count_are_named_by_input_offset_and_record(published, open_count):
    explanation = published.explain(open_count, rows=published.rows(open_count))
    parts = explanation.made_of
    assert sum(part.observed for part in parts) == open_count.value.observed > 0
    stream = io.StringIO()
    show(explanation, Console(file=stream, width=80))
    text = stream.getvalue()
    for part in parts:
        assert f"  made of {part.observed}: " in text
        assert f"; {part.where}" in text
    assert re.search(r"\w+-\d up to offset \d+, \d panes; ecindex.partials-0@\d+", text)


def test_a_count_is_computed_from_its_rows_not_from_itself(published):
    held = published.of("orders", "books", "24h", dimension="category")
    explanation = published.explain(held, rows=published.rows(held))
    assert "merged hours" in str(explanation.terms)
    assert [term.value for term in explanation.terms] == [
        part.observed for part in explanation.made_of
    ]
    assert explanation.calculation.startswith("sum of the rows counted: ")
    gone = CountedRows([], None, "rows of that time are no longer all there")
    assert published.explain(held, rows=gone).calculation.startswith(
        f"counted {held.value.observed}, which cannot be made again: rows of that time"
    )


def test_a_count_that_its_rows_do_not_make_is_not_equal(published, open_count):
    value = open_count.value
    more = open_count._replace(value=msgspec.structs.replace(value, observed=value.observed + 1))
    explanation = published.explain(more, rows=published.rows(more))
    assert not explanation.equal
    check = counted(explanation)
    assert (check.recomputed, check.equal) == (value.observed, False)


def test_rows_that_came_since_make_it_untold_not_wrong(published, open_count):
    value = open_count.value
    more = open_count._replace(value=msgspec.structs.replace(value, observed=value.observed + 1))
    made = published.rows(more, again=True)
    assert "have come since; ask again" in made.why
    check = counted(published.explain(more, rows=made))
    assert (check.equal, check.why) == (None, made.why)
    of_another = open_count._replace(version=Fence(3, 0, 0, MIDNIGHT, 10**9))
    assert published.rows(of_another).why == "the partials were created again since"


def test_what_is_not_counted_from_rows_says_so(published):
    shoppers = published.of("shoppers", "all", "1h")
    for held, why in ((shoppers, "sketches"), (recorded("orders", edition=9), "edition 9")):
        reason = why_not_rows(held, METHODOLOGY.edition)
        assert why in reason
        explanation = alone(held, rows=CountedRows([], None, reason))
        check = counted(explanation)
        assert (check.equal, check.why) == (None, reason)
