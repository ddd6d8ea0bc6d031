"""The audit reads definitions and labels on its own: on any log it agrees with the workers."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from streams.flow.definitions_book import DefinitionsBook
from streams.flow.state import DAY
from streams.index.definition_mistakes import definition_mistakes
from streams.index.definition_records import definitions_record
from streams.index.definitions import Definitions, MemberDefinition, market_with, member_id
from streams.index.identifiers import DIMENSIONS
from streams.index.label_text import ABSENT, MORE
from streams.index.member_rows import MemberRows
from streams.index.partials import Layout, to_wire
from streams.index.summed_labels import cut_to
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.label_columns import read_row
from streams.proof.recompute.label_sums import (
    CATEGORY,
    CHANNEL,
    METHOD,
    REGION,
    WHOLE,
    differences,
)
from streams.proof.recompute.sums import ColumnNames, differing
from tests.property.test_label_sums import rows_of, straight
from tests.support.flow_harness import METHODOLOGY

OURS = (CATEGORY, METHOD, REGION, CHANNEL)
TEXTS = [
    "Men's Fashion",
    "mens fashion",
    "a b",
    "A_B!",
    "a: 50 %",
    "other!",
    "★",
    "চাল",
    "চুল",
    "x",
    "y",
]


def said_in(rows) -> list[str]:
    """Texts that rows name, and some that they do not."""
    found = {label[1:] for of_book in rows.values() for row in of_book for label in row.labels}
    return sorted(found - {ABSENT, MORE}) + TEXTS


def documents(picks: random.Random, texts: list[str]) -> Iterator[Definitions]:
    """Valid documents of any sort, each of which may have to do with the one before."""
    former: dict[str, list[str]] = {dimension: [] for dimension in DIMENSIONS}
    while True:
        of = {}
        for dimension in DIMENSIONS:
            ids = sorted(
                {member_id(each) for each in picks.sample(texts, picks.randint(0, 5))} - {""}
            )
            roots = [each for each in ids if picks.random() < 0.6]
            of[dimension] = {
                member: MemberDefinition(
                    picks.choice(("", "A name")),
                    tuple(picks.sample(texts, picks.choice((0, 0, 1, 2)))),
                    picks.choice(roots) if roots and member not in roots else "",
                    tuple(picks.sample(former[dimension], min(len(former[dimension]), 1))),
                    digital=dimension == "payment_method" and picks.random() < 0.5,
                )
                for member in ids
            }
        document = Definitions("PK", **of)
        if next(definition_mistakes(document), None) is None:
            former = {dimension: list(members) for dimension, members in of.items()}
            yield document


def log_of(picks: random.Random, texts: list[str]) -> Iterator[tuple[bytes, bytes | None]]:
    """Records of a log, of which some lost, are invalid, or build upon what compaction took."""
    made, version = documents(picks, texts), 0
    for offset in range(picks.randint(1, 6)):
        base = picks.choice((version, version, version, max(0, version - 1), offset))
        read_to = max(base, picks.choice((offset, version)))
        key, value = definitions_record(
            next(made), base=base, read_to=read_to, by="a", reason="r", at_ms=0, nonce=str(offset)
        )
        if picks.random() < 0.1:
            value = value[:-1]
        elif base == version:
            version = offset + 1
        yield key, (None if picks.random() < 0.1 else value)


@given(seed=st.integers(0, 2**32))
def test_documents_count_and_labels_are_read_as_the_workers_do(seed):
    picks = random.Random(seed)
    rows = rows_of(picks)
    book, own = DefinitionsBook(["PK"]), DefinedMarkets(METHODOLOGY)
    toml = METHODOLOGY.markets["PK"]
    before, cut_by = 0, MemberRows(Layout(toml))
    for offset, (key, value) in enumerate(log_of(picks, said_in(rows))):
        refused = own.apply_record(key, value, offset)
        record = book.apply_record(key, value, offset, 0)
        held = book.markets["PK"]
        assert own.version("PK") == held.version
        assert (refused is not None) == bool(book.take_refused())
        if record is None:
            continue
        market, ours = market_with(toml, record.document), own.market("PK", held.version)
        assert ours.members() == market.members()
        for name in ("digital", "events"):
            assert getattr(ours, name) == getattr(market, name)
        for name in ("parents", "names"):
            given_names = {at: of for at, of in getattr(ours, name).items() if of}
            assert given_names == getattr(market, name)
        layout = Layout(market)
        names, members = ColumnNames(layout), MemberRows(layout)
        sums = own.members("PK")[held.version]
        for kind, of_book in rows.items():
            day = kind == DAY
            for packed in of_book:
                row = (members.day if day else members.live)(packed)
                found = names.read(to_wire(row), day=day)
                assert not list(differing(sums.of(read_row(packed, day=day)), found))
                kept = set(picks.sample(packed.labels, picks.randint(0, len(packed.labels))))
                cut = straight(kind, [packed], cut_to(kept, cut_by.cut))
                places = {(OURS[int(text[0])], text[1:]) for text in kept} | {WHOLE}
                ours_cut = own.members("PK")[before].cut(read_row(packed, day=day), places)
                ours_cut.labels = read_row(cut, day=day).labels
                assert not list(differences(ours_cut, read_row(cut, day=day)))
                row = (members.day if day else members.live)(cut)
                found = names.read(to_wire(row), day=day)
                assert not list(differing(sums.of(ours_cut), found))
        before, cut_by = held.version, members
