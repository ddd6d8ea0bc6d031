"""``definitions propose``: labels that no member has, by weight, and the member each is like."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from anyascii import anyascii
from rapidfuzz import fuzz, process

from streams.clock import now_ms
from streams.index.definition_changes import LabelTargets
from streams.index.definitions import Definitions, MemberDefinition, label_of_id, market_with
from streams.index.identifiers import DIMENSIONS
from streams.index.label_text import label_of
from streams.index.methodology import Market
from streams.index.other_labels import LabelCounts
from streams.operate.defining import opened
from streams.operate.label_weights import read_label_counts
from streams.settings import Settings

LIKENESS_MIN = 80
"""Percent of `fuzz.token_sort_ratio`: a plural has 89, shoes and shirts have 55."""
PROPOSED_MAX = 100


class ProposedLabel(NamedTuple):
    """A label that no member has. ``member``: the one that it is like; empty: it is like none."""

    dimension: str
    label: str
    orders: int
    member: str
    likeness: int
    """Percent; 0 where it is like none."""


def likely_member(label: str, members: dict[str, MemberDefinition]) -> tuple[str, int]:
    """(member, percent) that a label is written most alike, in Latin letters; ("", 0): it is like none.

    >>> likely_member("i\u0307stanbul", {"istanbul": MemberDefinition(), "izmir": MemberDefinition()})
    ('istanbul', 100)
    """
    names = [
        (latin(text), member)
        for member, each in members.items()
        for text in (label_of_id(member), each.name, *each.labels)
        if text
    ]
    found = process.extractOne(
        latin(label),
        [name for name, _ in names],
        scorer=fuzz.token_sort_ratio,
        score_cutoff=LIKENESS_MIN,
    )
    return ("", 0) if found is None else (names[found[2]][1], round(found[1]))


def latin(text: str) -> str:
    """Normal form of a text in Latin letters, as one writes who has no others.

    >>> latin("Straße"), latin("Одежда"), latin("İstanbul")
    ('strasse', 'odezhda', 'istanbul')
    """
    return label_of(anyascii(text)).replace("_", " ").replace("-", " ")


async def propose_labels(settings: Settings, code: str) -> list[ProposedLabel]:
    """Return the largest labels of the last 28 days that no member has. Raises OperationError."""
    async with opened(settings, code) as found:
        document = found.document(found.version)
        counts = await read_label_counts(
            settings, found.logs, found.methodology, found.market, now_ms()
        )
    return proposed(found.market, document, counts)


def proposed(market: Market, document: Definitions, counts: LabelCounts) -> list[ProposedLabel]:
    """Return the largest labels of the counts that no member of the document has."""
    targets = LabelTargets(market_with(market, document))
    undeclared = {
        stored: orders
        for stored, orders in counts.placed.items()
        if orders and targets.is_undeclared(stored)
    }
    members = dict(document.by_dimension())
    found = []
    for stored, orders in heapq.nsmallest(
        PROPOSED_MAX, undeclared.items(), key=lambda each: (-each[1], each[0])
    ):
        dimension, label = DIMENSIONS[int(stored[0])], stored[1:]
        likely = likely_member(label, members[dimension])
        found.append(ProposedLabel(dimension, label, orders, *likely))
    return found
