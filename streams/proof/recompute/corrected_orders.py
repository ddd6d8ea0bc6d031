"""What the cancels and refunds of one order take from its day, by article.

Written from docs/methodology.md, not from flow/fold_corrections.py, and by another way: article by
article. Of an article that several cancels name the largest counts, and none of its refunds; articles
without a sku cannot be told apart within their category. Categories and methods are labels: what was
said, not what the methodology makes of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.index.event_types import OrderEvent
from streams.proof.recompute.event_sums import Labels
from streams.proof.recompute.label_sums import (
    CATEGORY,
    METHOD,
    WHOLE,
    GrowingRow,
    NumberName,
    Place,
)
from streams.proof.recompute.sums import WAITING

CANCELLED, REFUNDED = "cancelled", "refunded"
ARTICLES_KEPT_MOST = 16


class Article(NamedTuple):
    """What lines say of what they sell; an empty ``sku``: nothing."""

    sku: str
    category: str
    """Label of the lines' category."""
    is_named: bool
    """Whether the lines name a category."""

    def could_be(self, other: Article) -> bool:
        """Whether nothing that both say tells the two apart."""
        if self.sku and other.sku and self.sku != other.sku:
            return False
        return not (self.is_named and other.is_named) or self.category == other.category


Lines = tuple[tuple[str, str, int, int], ...]


def lines_of(event: OrderEvent) -> Lines:
    """Return the lines as they are compared: (sku, category, quantity, price), sorted."""
    return tuple(
        sorted(
            (str(each.sku), str(each.category), each.quantity, each.unit_price_minor)
            for each in event.lines
        )
    )


class Share(NamedTuple):
    """What a correction says of one article."""

    article: Article
    units: int
    sales: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a correction says."""

    lines: Lines = ()
    method: str | None = None
    """Label of the payment method; None: it names none."""
    articles: tuple[Share, ...] = ()


def claim_of(event: OrderEvent, labels: Labels) -> Claim:
    """Return what a cancel or refund says."""
    units: Counter[Article] = Counter()
    sales: Counter[Article] = Counter()
    for line in event.lines:
        article = Article(line.sku, labels.find(line.category), bool(line.category))
        units[article] += line.quantity
        sales[article] += line.quantity * line.unit_price_minor
    if len(units) > ARTICLES_KEPT_MOST:
        units, sales = _without_skus(units), _without_skus(sales)
    method = labels.find(event.payment_method) if event.payment_method else None
    articles = tuple(Share(article, units[article], sales[article]) for article in units)
    return Claim(lines_of(event), method, articles)


def _without_skus(counts: Counter[Article]) -> Counter[Article]:
    found: Counter[Article] = Counter()
    for article, count in counts.items():
        found[article._replace(sku="")] += count
    return found


def less(claim: Claim, gone: Iterable[Article]) -> Claim | None:
    """Return a claim without the articles that are gone; None when all of them are."""
    taken = list(gone)
    left = tuple(each for each in claim.articles if not any(map(each.article.could_be, taken)))
    return Claim(claim.lines, claim.method, left) if left or not claim.articles else None


def places_of(claim: Claim) -> set[Place]:
    """Return the places that a correction touches."""
    found = {WHOLE, *((CATEGORY, article.category) for article, _, _ in claim.articles)}
    return found if claim.method is None else found | {(METHOD, claim.method)}


class Amount(NamedTuple):
    """What is taken from one place."""

    orders: int
    units: int
    sales: int


Taken = dict[tuple[Place, str], Amount]
"""(place, ``cancelled`` or ``refunded``) -> what corrections of one order take there from its day.

A place that any cancel touches is there, even if nothing is taken from it.
"""
NOTHING = Amount(0, 0, 0)


def cancelled_amounts(cancels: Sequence[Claim]) -> Taken:
    """Return what cancels take together."""
    found: Taken = {}
    for place in set().union(*map(places_of, cancels)) if cancels else ():
        dimension, label = place
        concerned = [each for each in cancels if dimension != METHOD or each.method == label]
        categories = {each.article.category for claim in concerned for each in claim.articles}
        if dimension == CATEGORY:
            categories &= {label}
        units, sales = (
            sum(_largest(concerned, category, worth) for category in categories)
            for worth in (_units, _sales)
        )
        found[place, CANCELLED] = Amount(1, units, sales)
    return found


def _units(share: Share) -> int:
    return share.units


def _sales(share: Share) -> int:
    return share.sales


def _largest(cancels: Sequence[Claim], category: str, worth: Callable[[Share], int]) -> int:
    """Return the most that was cancelled of a category: by one cancel, or by sku over all."""
    by_sku: Counter[str] = Counter()
    by_one = 0
    for claim in cancels:
        own = [each for each in claim.articles if each.article.category == category]
        by_one = max(by_one, sum(map(worth, own)))
        one: Counter[str] = Counter()
        for each in own:
            if each.article.sku:
                one[each.article.sku] += worth(each)
        by_sku |= one
    return max(by_one, by_sku.total())


def refunded_amounts(refunds: Iterable[Claim]) -> Taken:
    """Return what refunds take together."""
    found: Taken = {}
    for claim in refunds:
        for place in places_of(claim):
            dimension, label = place
            own = [
                each
                for each in claim.articles
                if dimension != CATEGORY or each.article.category == label
            ]
            _, units, sales = found.get((place, REFUNDED), NOTHING)
            units, sales = units + sum(map(_units, own)), sales + sum(map(_sales, own))
            found[place, REFUNDED] = Amount(1, units, sales)
    return found


def difference(after: Taken, before: Taken) -> dict[NumberName, int]:
    """Return by which numbers what is taken differs, without those that do not."""
    found: dict[NumberName, int] = {}
    for place, ledger in after.keys() | before.keys():
        new, old = after.get((place, ledger), NOTHING), before.get((place, ledger), NOTHING)
        for what, more in zip(Amount._fields, map(int.__sub__, new, old), strict=True):
            if more:
                found[NumberName(place, ledger, what)] = more
    return found


class Move(NamedTuple):
    """What the corrections of one order took from a day, and what they take from now on.

    ``waits``: of corrections that came while their order was refused: beside what counts.
    """

    before: Taken
    after: Taken
    waits: bool = False

    def changes(self, row: GrowingRow) -> dict[NumberName, int]:
        """Return what it changes in the row of the day, in which all labels are named."""
        changed = difference(_in_row(self.after, row), _in_row(self.before, row))
        return {
            name._replace(ledger=self._ledger(name.ledger)): more for name, more in changed.items()
        }

    def change_row(self, row: GrowingRow) -> None:
        """Change the row of the day, and the labels that the order names there together."""
        for name, more in self.changes(row).items():
            row.add(*name, more)
        for dimension in (CATEGORY, METHOD):
            left, joined = (
                {
                    (label, self._ledger(ledger))
                    for ((kind, label), ledger), amount in _in_row(taken, row).items()
                    if kind == dimension and amount.orders
                }
                for taken in (self.before, self.after)
            )
            if left != joined:
                row.name_set(dimension, left, -1)
                row.name_set(dimension, joined)

    def _ledger(self, ledger: str) -> str:
        return f"{WAITING}{ledger}" if self.waits else ledger


def _in_row(taken: Mapping[tuple[Place, str], Amount], row: GrowingRow) -> Taken:
    """Return what is taken from the places that a row has. Labels without room are one place.

    There the order is taken once, as cancelled if any of them was cancelled.
    """
    found: Taken = {}
    cancelled = {row.kept(place) for place, ledger in taken if ledger == CANCELLED}
    for (place, ledger), amount in taken.items():
        at = row.kept(place)
        orders, units, sales = found.get((at, ledger), NOTHING)
        if ledger == CANCELLED or at not in cancelled:
            orders |= amount.orders
        found[at, ledger] = Amount(orders, units + amount.units, sales + amount.sales)
    return found
