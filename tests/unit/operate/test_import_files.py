"""Finding and reading the files of an import; real data where it is at hand."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from support.olist_files import write_olist

from streams.index.events import Rejected, decode_orders, decode_payments
from streams.index.methodology import parse
from streams.operate.import_files import ImportFilesError, open_source
from streams.sources.outgoing import head
from tests.support.methodologies import OLIST, ONLINE_RETAIL
from tests.support.reference import Rules, unknown_labels

REAL_DATA = Path(__file__).parents[3].parent / "shared" / "data"
HEADER = "event_id,type,occurred_at,market,order_id,currency,method,amount_minor"
PAYMENT = "p1,payment.captured,2026-01-01T00:00:00Z,PK,o1,PKR,cod,100"


def test_olist_tables_are_found_plain_packed_and_under_their_published_names(tmp_path):
    write_olist(tmp_path, orders=3)
    (tmp_path / "orders.csv").rename(tmp_path / "olist_orders_dataset.csv")
    items = (tmp_path / "order_items.csv").read_bytes()
    (tmp_path / "order_items.csv").unlink()
    (tmp_path / "order_items.csv.gz").write_bytes(gzip.compress(items))
    assert open_source("olist", tmp_path).tally.read["orders"] == 3


def test_a_missing_table_is_named(tmp_path):
    write_olist(tmp_path, orders=1)
    (tmp_path / "customers.csv").unlink()
    with pytest.raises(ImportFilesError, match=r"customers\.csv"):
        open_source("olist", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\n{PAYMENT},extra\n", "line 2: expected 8 values"),
        (f"{HEADER}\n{PAYMENT}\np2,short\n", "line 3: expected 8 values"),
        ("event_id\np1\n", "expected columns"),
        ("", "expected columns"),
        (f'{HEADER}\n"unclosed\n', "unexpected end of data"),
        (b"\xff\xfe\xfa", "codec"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, content, message):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "payments.csv").write_bytes(data)
    with pytest.raises(ImportFilesError, match=message):
        open_source("csv", tmp_path)


def test_a_file_cut_short_is_named(tmp_path):
    packed = gzip.compress(f"{HEADER}\n{PAYMENT}\n".encode())
    (tmp_path / "payments.csv.gz").write_bytes(packed[:-9])
    with pytest.raises(ImportFilesError, match=str(tmp_path)):
        open_source("csv", tmp_path)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "payments.csv").write_text(f"\ufeff{HEADER}\n{PAYMENT}\n")
    assert open_source("csv", tmp_path).count == 1


@pytest.mark.parametrize("source", ["olist", "online-retail", "csv"])
def test_a_directory_without_the_files_is_named(tmp_path, source):
    with pytest.raises(ImportFilesError, match="expected"):
        open_source(source, tmp_path)
    with pytest.raises(ImportFilesError, match="expected a directory"):
        open_source(source, tmp_path / "absent")


def test_an_invalid_parquet_file_is_named(tmp_path):
    (tmp_path / "online_retail.parquet").write_text("not parquet")
    with pytest.raises(ImportFilesError, match=r"online_retail\.parquet"):
        open_source("online-retail", tmp_path)


def valid(events):
    """Decoded orders; fails on an event that breaks the contract."""
    orders = decode_orders([event.value for event in events if event.topic == "orders"])
    payments = decode_payments([event.value for event in events if event.topic == "payments"])
    assert not [event for event in (*orders, *payments) if isinstance(event, Rejected)]
    return orders, payments


@pytest.mark.skipif(not (REAL_DATA / "olist").is_dir(), reason="Olist's data is not at hand")
@pytest.mark.deep
def test_the_real_olist_data_is_imported_whole():
    found = open_source("olist", REAL_DATA / "olist")
    events = list(found.events)
    assert Counter(head(event)[0] for event in events) == {
        "order.placed": 20_000,
        "payment.captured": 20_873,
        "order.cancelled": 124,
    }
    assert not found.tally.skipped
    times = [event.timestamp_ms for event in events]
    assert times == sorted(times)
    orders, payments = valid(events)
    placed = [event for event in orders if event.type == "order.placed"]
    assert sum(len(event.lines) for event in placed) == 22_618
    rules = Rules.of(parse(OLIST.read_text())).markets["BR"]
    categories = {line.category for event in placed for line in event.lines}
    assert unknown_labels(rules, "category", categories) == {"unknown"}
    assert unknown_labels(rules, "region", {event.region for event in placed}) == set()
    assert unknown_labels(rules, "payment_method", {event.method for event in payments}) == {
        "not_defined"
    }


@pytest.mark.slow
@pytest.mark.skipif(
    not (REAL_DATA / "online_retail").is_dir(), reason="Online Retail's data is not at hand"
)
@pytest.mark.deep
def test_the_real_online_retail_data_is_imported_but_for_what_is_counted():
    found = open_source("online-retail", REAL_DATA / "online_retail")
    assert found.tally.read["rows"] == 541_909
    assert found.count + found.tally.skipped.total() == 541_909
    assert found.tally.skipped.keys() == {
        "price 0 or below",
        "price finer than a penny",
        "not a purchase",
    }
    events = list(found.events)
    orders, _ = valid(events)
    rules = Rules.of(parse(ONLINE_RETAIL.read_text())).markets["GB"]
    assert unknown_labels(rules, "region", {event.region for event in orders}) == {"unspecified"}
