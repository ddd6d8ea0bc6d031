"""Which documents of ``ecindex.definitions`` are in force, whoever reads the topic and when."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.flow.definitions_book import DOCUMENTS_MAX, KEPT_MS, DefinitionsBook
from streams.index.definition_records import (
    DefinitionsError,
    DefinitionsRecord,
    decode_definitions,
    definitions_record,
)
from streams.index.definitions import Definitions, MemberDefinition
from tests.support.draws import examples

NOW_MS = 1_800_000_000_000


def document(*members, market="PK"):
    return Definitions(market, category={name: MemberDefinition() for name in members})


def record(*members, base=0, read_to=None, nonce="n", market="PK", by="aisha", reason="why"):
    return definitions_record(
        document(*members, market=market), base=base, read_to=base if read_to is None else read_to,
        by=by, reason=reason, at_ms=NOW_MS, nonce=nonce,
    )  # fmt: skip


def book_of(log, markets=("PK", "BD")):
    """A book that read the log; offsets of None are those that compaction took."""
    book = DefinitionsBook(markets)
    for offset, each in enumerate(log):
        if each is not None:
            book.apply_record(*each, offset, NOW_MS + offset)
    return book


def test_a_document_counts_if_it_builds_upon_the_version_in_force():
    log = [record("a"), record("b", base=1), record("x", market="BD", base=0, read_to=2)]
    book = book_of(log)
    market = book.markets["PK"]
    assert (market.version, market.document) == (2, document("b"))
    assert [(each.version, each.base, each.by) for each in market.applied] == [
        (1, 0, "aisha"), (2, 1, "aisha"),
    ]  # fmt: skip
    assert (book.markets["BD"].version, book.take_refused()) == (3, [])


def test_the_latest_documents_are_kept_by_version():
    log = [record(f"m{base}", base=base) for base in range(DOCUMENTS_MAX + 3)]
    found = book_of(log).markets["PK"].documents
    assert list(found) == list(range(4, DOCUMENTS_MAX + 4))
    assert found[4] == document("m3")


def test_of_two_at_once_the_first_in_the_log_counts():
    log = [record("a"), record("b", base=1, nonce="b"), record("c", base=1, nonce="c")]
    market = book_of(log).markets["PK"]
    assert (market.version, market.document) == (2, document("b"))
    assert [each.version for each in market.lost] == [3]
    log.append(record("d", base=3, read_to=3))  # upon a version that never was in force
    assert book_of(log).markets["PK"].version == 4
    log[3] = record("d", base=1, read_to=3)
    assert book_of(log).markets["PK"].version == 2


BROKEN = {
    "no JSON": (b"PK|0|n", b"{", "truncated"),
    "another market's": (b"PK|0|n", record("a", market="BD")[1], "'PK|0|n': expected BD|0|NONCE"),
    "another base": (b"PK|1|n", record("a")[1], "expected PK|0|NONCE"),
    "no nonce": (b"PK|0", record("a")[1], "expected PK|0|NONCE"),
}


@pytest.mark.parametrize(("key", "value", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_record_that_cannot_be_read_changes_nothing_and_is_a_trouble(key, value, reason):
    book = book_of([record("a"), (key, value)])
    market = book.markets["PK"]
    assert (market.version, market.document) == (1, document("a"))
    (trouble,) = market.troubles
    assert trouble.version == 2
    assert reason in trouble.reason
    assert book.take_refused() == [trouble.reason]
    book.apply_record(*record("b", base=1, read_to=2), 2, NOW_MS)
    assert (market.version, list(market.troubles)) == (3, [])


CHANGES = {
    "author": ({"by": "a|b"}, "by 'a|b'"),
    "reason": ({"reason": "a\nb"}, "expected one line"),
    "base": ({"base": -1}, "base -1"),
    "read_to": ({"base": 2, "read_to": 1}, "a version before read_to 1"),
    "written_at": ({"written_at": "today"}, "RFC 3339"),
    "document": ({"document": document("more")}, "no member can be called"),
    "market": ({"document": document("a", market="BD")}, "a document of market 'BD'"),
    "newer": ({"v": 2}, "a newer version of ecindex wrote it"),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
def test_what_a_record_may_hold_is_checked_before_it_is_sent_and_when_it_is_read(change, reason):
    whole = msgspec.json.decode(record("a")[1], type=DefinitionsRecord)
    changed = msgspec.structs.replace(whole, **change)
    key = f"{changed.market}|{changed.base}|n".encode()
    with pytest.raises(DefinitionsError, match=reason.replace("|", r"\|")):
        decode_definitions(key, msgspec.json.encode(changed))
    if set(change) <= {"by", "reason", "base"}:
        with pytest.raises(DefinitionsError):
            record("a", **change)


def test_a_market_that_is_none_and_a_tombstone_change_nothing():
    book = book_of([record("a", market="XX"), record("a", read_to=1)])
    assert book.take_refused() == ["b'XX|0|n': market 'XX' is not in methodology.toml"]
    book.apply_record(record("a")[0], None, 2, NOW_MS)
    assert book.markets["PK"].version == 2


def test_a_log_that_is_read_again_changes_nothing():
    log = [record("a"), record("b", base=1), record("c", base=1, nonce="c")]
    book = book_of(log)
    for offset, each in enumerate(log):
        assert book.apply_record(*each, offset, NOW_MS) is None
    market = book.markets["PK"]
    assert (market.version, len(market.applied), len(market.lost)) == (2, 2, 1)


def test_no_record_of_a_topic_that_was_created_again_counts():
    book = book_of([record("a"), record("b", base=1)])
    book.bind("first")
    book.bind("")  # a broker that tells no id
    assert book.apply_record(*record("c", base=2), 2, NOW_MS) is not None
    book.bind("second")
    assert book.apply_record(*record("d", base=9), 9, NOW_MS) is None
    market = book.markets["PK"]
    assert (market.version, market.document) == (3, document("c"))
    assert "created again" in market.troubles[0].reason
    again = DefinitionsBook(["PK", "BD"])
    again.bind(book.topic_id)
    again.bind("second")
    again.apply_record(*record("d"), 0, NOW_MS)
    book.replace_by(again)
    assert book.markets["PK"].version == 3
    again = DefinitionsBook(["PK", "BD"])
    again.bind(book.topic_id)
    again.apply_record(*record("d"), 0, NOW_MS)
    book.replace_by(again)
    assert book.markets["PK"].document == document("d")


@examples(200)
@given(seed=st.integers(0, 2**32))
def test_who_reads_what_compaction_left_holds_the_version_of_who_read_all(seed):
    """Writers read to some end and build upon what they found; old records go in any order."""
    picks = random.Random(seed)
    log = []
    for number in range(picks.randint(1, 12)):
        read_to = max(0, len(log) - picks.choice((0, 0, 0, 1, 2)))
        market = picks.choice(("PK", "PK", "BD"))
        base = book_of(log[:read_to]).markets[market].version
        log.append(
            record(f"m{number}", base=base, read_to=read_to, nonce=str(number), market=market)
        )
    whole = book_of(log)
    left: list = list(log)
    for _ in range(6):
        now_ms = NOW_MS + KEPT_MS + picks.randint(0, len(log) + 2)
        old = {key for each in book_of(left).markets.values() for key in each.outdated(now_ms)}
        gone = {key for key in old if picks.random() < 0.7}
        left = [None if each is None or each[0] in gone else each for each in left]
        read = book_of(left)
        for code, market in whole.markets.items():
            assert read.markets[code].version == market.version
            assert read.markets[code].document == market.document


def test_a_version_is_kept_for_400_days_after_another_took_its_place():
    log = [record("a"), record("b", base=1), record("c", base=1, nonce="c")]
    market = book_of(log).markets["PK"]
    assert market.outdated(NOW_MS + KEPT_MS + 1) == []
    assert market.outdated(NOW_MS + KEPT_MS + 2) == [log[0][0]]
    assert market.outdated(NOW_MS + KEPT_MS + 3) == [log[2][0], log[0][0]]
    late = NOW_MS + 10 * KEPT_MS
    assert market.outdated(late) == [log[2][0], log[0][0]]
    log.insert(1, record("d", nonce="d"))
    market = book_of([log[0], log[1], record("b", base=1, nonce="b")]).markets["PK"]
    assert market.outdated(late) == [log[1][0]]  # it would win if the first were gone
