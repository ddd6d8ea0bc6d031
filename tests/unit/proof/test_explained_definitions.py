"""Explaining numbers of a market whose members became others: by the version that made each."""

from __future__ import annotations

import msgspec
import pytest

from streams.flow.merged import decode_merged
from streams.flow.wire import PartialKey, decode_partial, parsed_key
from streams.index.definitions import MemberDefinition, definitions_of, market_with
from streams.index.hours import LocalHours
from streams.index.panes import MINUTE_MS, rfc3339
from streams.proof.explain.explanation import explain_value
from streams.proof.explain.explanation_types import Known, PublishedValue
from streams.proof.explain.gather import JournalSearch
from streams.proof.explain.journal_query import query_of
from streams.proof.explain.journaled_vintages import Vintages
from streams.proof.explain.made_of import RowsRead
from streams.publish.journal import journal_records
from streams.records.journal_record import JournalRecord, decode_journal
from tests.property.test_redefined_market import ONE, PK, START_MS, begun, define, follow
from tests.support.flow_harness import ORDERS, PAYMENTS, order, payment

HOURS = LocalHours(PK.time_zone)
M = MemberDefinition


class Renamed:
    """Books are called letters since version 3, before the first of all, and gnomes have appeared."""

    def __init__(self):
        flow = self.flow = begun()
        for at in range(12):
            flow.now_ms = START_MS + at * 2 * MINUTE_MS
            for kind in ("books", "garden gnomes", "computing")[: 1 + at % 3]:
                event = order(f"{kind}{at}", flow.now_ms - 1_000, lines=[(kind, 1, 100)])
                flow.produce(flow.sps[ORDERS][at % 2], event, flow.now_ms)
            paid = payment(f"p{at}", flow.now_ms - 1_000)
            flow.produce(flow.sps[PAYMENTS][at % 2], paid, flow.now_ms)
            flow.run()
        self.before = flow.published["PK"]
        self.table = dict(flow.tables[0])
        """As the owner before had written it."""
        own = definitions_of(PK)
        kept = {name: each for name, each in own.category.items() if name != "books"}
        new = {"gnomes": M(labels=("garden gnomes",)), "letters": M(formerly=("books",))}
        document = msgspec.structs.replace(own, category=new | kept)
        define(flow, document, 3)
        self.market = market_with(PK, document, 3)
        vintages = [each for each in flow.history if each.vintages]
        follow(flow)
        (self.after,) = flow.step(0)
        self.journal = [record for made in vintages for record in journal_records(made, "j")]

    def rows(self, held, market):
        rows = RowsRead(held, market, ONE, HOURS)
        for offset, record in enumerate(self.flow.partials[0].records):
            rows.log_end, key = offset, parsed_key(record.key)
            if isinstance(key, PartialKey) and record.value is not None:
                rows.take_row(key, decode_partial(record.value), offset, record.timestamp_ms)
        for offset, (key, value) in enumerate(self.table.items()):
            rows.take_table(key, value, offset)
        return rows.made_of("ecindex.partials-0", "merged-0")

    def explain(self, publication, index, member, window="1h", applied=None):
        market = self.market if publication.fence.definitions else PK
        values = {
            each.key: PublishedValue(each, publication.fence, "v", START_MS + 10**9)
            for each in publication.values
        }
        held = values[f"PK|{index}|category|{member}|{window}"]
        search = JournalSearch(query_of(held.value, market, HOURS), ONE.edition)
        for record in self.journal:
            search.apply_record("j", decode_journal(record.value), publication.fence)
        known = Known(values, search.found, [], self.rows(held, market), applied or {})
        return explain_value(held, known, market, edition=ONE.edition)


@pytest.fixture(scope="module")
def shop():
    return Renamed()


@pytest.mark.parametrize("member", ["letters", "gnomes", "computing", "other"])
def test_a_count_is_made_of_rows_that_were_written_by_another_version(shop, member):
    merged = [value for key, value in shop.table.items() if key[:2] in (b"m|", b"h|")]
    assert {decode_merged(value).definitions for value in merged} == {0}
    found = shop.explain(shop.after, "orders", member)
    (counted,) = (check for check in found.checks if check.what == "counted")
    assert counted.equal is True, counted
    sold = {"letters": 11, "gnomes": 7, "computing": 3, "other": 0}  # of whole minutes
    assert (counted.published, counted.recomputed) == (sold[member], sold[member])


def test_what_is_expected_of_a_renamed_member_is_read_under_its_former_id(shop):
    (value,) = (each for each in shop.after.values if each.key == "PK|orders|category|letters|24h")
    search = JournalSearch(query_of(value, shop.market, HOURS), ONE.edition)
    for record in shop.journal:
        search.apply_record("j", decode_journal(record.value), shop.before.fence)
    span = START_MS, START_MS + 20 * MINUTE_MS

    def expected(member, market):
        held = Vintages(search.found.vintages, HOURS, [], at=shop.after.fence, market=market)
        return held.exact([("category", member, "orders")], *span)

    # Ten an hour in all, half of them books: in millionths.
    assert expected("books", PK) == pytest.approx(5 / 3 * 10**6, rel=0.2)
    assert expected("letters", shop.market) == expected("books", PK)
    assert expected("letters", PK) == 0
    found = shop.explain(shop.before, "orders", "books")
    assert {check.what: check.equal for check in found.checks}["expected"] is True


def test_an_hour_that_was_closed_before_a_rename_is_found(shop):
    (value,) = (each for each in shop.after.values if each.key == "PK|orders|category|letters|1h")
    hour_ms = min(query_of(value, shop.market, HOURS).hours)
    (closed,) = (each for each in shop.before.values if each.key == "PK|orders|category|books|1h")

    def observed(*members):
        search = JournalSearch(query_of(value, shop.market, HOURS), ONE.edition)
        record = JournalRecord(
            "hour", "PK", value.as_of, ONE.edition, 1, 1, start=rfc3339(hour_ms),
            values=[
                msgspec.structs.replace(closed, member=each, observed=at)
                for at, each in enumerate(members, 7)
            ],
        )  # fmt: skip
        search.apply_record("j", record, shop.before.fence)
        return search.found.closings["hour", hour_ms].observed

    assert observed("computing", "books") == 8
    assert observed("letters", "books") == 7, "its own id comes first"
    assert observed("books", "letters") == 8
    assert observed("computing") == 0


def test_the_version_of_a_number_is_named_and_who_changed_its_member(shop):
    assert shop.explain(shop.before, "orders", "books").definitions == 0
    held = {each.key: each for each in shop.after.values}["PK|orders|category|gnomes|1h"]
    assert held.definitions == 3
    found = shop.explain(shop.after, "orders", "gnomes", applied={3: "aisha: gardens"})
    assert found.definitions == 3
    assert (
        "version 3 of the definitions changed which labels gnomes counts (aisha: gardens)"
        in found.notes
    )
    assert shop.explain(shop.after, "orders", "computing").notes == []


def test_a_version_that_the_topic_has_no_more_is_said(shop):
    shop.market, market = PK, shop.market
    found = shop.explain(shop.after, "orders", "computing")
    shop.market = market
    assert any(
        "version 3 of the definitions, which their topic does not have" in n for n in found.notes
    )
