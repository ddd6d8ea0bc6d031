"""What the cancels and refunds of one order take from its day, by article.

Written from docs/methodology.md, not from flow/fold_corrections.py, and by another way: article by
article. Of an article that several cancels name the largest counts, and none of its refunds; articles
without a sku cannot be told apart within their category.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.index.event_types import OrderEvent
from streams.proof.recompute.sums import WAITING, EventSums, Sums

ARTICLES_KEPT_MOST = 16


class Article(NamedTuple):
    """What lines say of what they sell; an empty ``sku``: nothing."""

    sku: str
    category: str
    """Member of the lines' category; ``other`` where they name none."""
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
    method: str = ""
    """Member of the payment method; empty: none."""
    articles: tuple[Share, ...] = ()


def claim_of(event: OrderEvent, adds: EventSums) -> Claim:
    """Return what a cancel or refund says."""
    units: Counter[Article] = Counter()
    sales: Counter[Article] = Counter()
    for line in event.lines:
        member, _ = adds.category.find(line.category)
        article = Article(line.sku, member, bool(line.category))
        units[article] += line.quantity
        sales[article] += line.quantity * line.unit_price_minor
    if len(units) > ARTICLES_KEPT_MOST:
        units, sales = _without_skus(units), _without_skus(sales)
    method = adds.method.find(event.payment_method)[0] if event.payment_method else ""
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


def places_of(claim: Claim) -> set[str]:
    """Return the prefixes of the places that a correction touches."""
    found = {"", *(f"category/{article.category}/" for article, _, _ in claim.articles)}
    return found | {f"method/{claim.method}/"} if claim.method else found


_WORTH: dict[str, Callable[[Share], int]] = {
    "units": lambda share: share.units,
    "sales": lambda share: share.sales,
}


def cancelled_sums(cancels: Sequence[Claim]) -> Sums:
    """Return what cancels take together: orders, units and sales of each place."""
    found = Sums()
    for place in set().union(*map(places_of, cancels)) if cancels else ():
        kind, _, member = place.rstrip("/").partition("/")
        concerned = [each for each in cancels if kind != "method" or each.method == member]
        found[f"{place}cancelled/orders"] = 1
        categories = {each.article.category for claim in concerned for each in claim.articles}
        for what, worth in _WORTH.items():
            found[f"{place}cancelled/{what}"] = sum(
                _largest(concerned, category, worth)
                for category in categories
                if kind != "category" or category == member
            )
    return found


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


def refunded_sums(refunds: Iterable[Claim]) -> Sums:
    """Return what refunds take together."""
    found = Sums()
    for claim in refunds:
        for place in places_of(claim):
            found[f"{place}refunded/orders"] = 1
            kind, _, member = place.rstrip("/").partition("/")
            for each in claim.articles:
                if kind != "category" or each.article.category == member:
                    for what, worth in _WORTH.items():
                        name = f"{place}refunded/{what}"
                        found[name] = found.get(name, 0) + worth(each)
    return found


def beside(sums: Sums) -> Sums:
    """Return the sums as those of corrections that wait."""
    found = Sums()
    for name, value in sums.items():
        *where, ledger, what = name.split("/")
        found["/".join((*where, f"{WAITING}{ledger}", what))] = value
    return found
