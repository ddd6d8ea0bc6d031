"""The formula of each index, and the number again from what other records say. No IO.

One division of two integers, as published. Where other records hold the parts (members of a total,
both sides of a share), the number is made from those and not from the value's own fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.index.demand import SCALE, mix_shift
from streams.index.indices import (
    ALL,
    CATEGORY,
    CHANNEL,
    MARKET,
    METHOD,
    NEW_SHOPPER_SHARE,
    ORDERS_PER_SHOPPER,
    SHOPPER_INDICES,
    SHOPPERS,
    shopper_entries,
)
from streams.index.level import LEVEL
from streams.index.methodology import Market
from streams.index.values import COVERED_MIN, Value, ratio
from streams.proof.explain.explanation_types import Based, Number, PublishedValue, Term
from streams.proof.explain.journaled_vintages import NotKnownError

WINDOW, DAY_BOOK, SHOPPERS_ANCHOR, DEMAND_ANCHOR, LEVEL_ANCHOR = (
    "counted-a-window",
    "counted-the-day-book",
    "estimated-shoppers",
    "measured-demand",
    "measured-the-level",
)
"""Headings of docs/methodology.md."""


class Formula(NamedTuple):
    """A formula in words, and the heading of docs/methodology.md that explains it."""

    words: str
    anchor: str
    make: Callable[[Parts], Number | None]


@dataclass(slots=True)
class Parts:
    """What a formula may draw on; it notes what it drew."""

    value: Value
    market: Market
    where: str
    find: Callable[[str, str, str], PublishedValue | None]
    """(index, dimension, member) -> the record of the same window and publication."""
    exact: Callable[[], int]
    """The expectation in millionths; raises NotKnownError."""
    mix: Callable[[], list[int]]
    """The expectation of each method's payments; raises NotKnownError."""
    before: Callable[[], tuple[int, int]]
    """(orders counted earlier, hours of them); raises NotKnownError."""
    base: Callable[[], Based]
    """What a level is against; raises NotKnownError."""
    terms: list[Term] = field(default_factory=list)
    calculation: str = ""

    def own(self, name: str, number: int | None) -> int:
        """A field of the value itself."""
        self.terms.append(Term(name, number, self.where))
        return number or 0

    def observed(self, name: str, index: str, dimension: str, member: str) -> int | None:
        """What another record counts; None without one, as of a member that had nothing."""
        found = self.find(index, dimension, member)
        if found is None:
            return None
        self.terms.append(Term(name, found.value.observed, found.where))
        return found.value.observed or 0

    def said(self, calculation: str, number: Number | None) -> Number | None:
        """Note how the number was made."""
        self.calculation = f"{calculation} = {number}"
        return number


def number_of(parts: Parts, formula: Formula) -> Number | None:
    """The number to publish: that of the formula, unless the window is not covered."""
    value = parts.value
    if value.day is None and value.covered < COVERED_MIN:
        return parts.said(f"covered {value.covered} is below {COVERED_MIN}: no value", None)
    return formula.make(parts)


# -- counts --------------------------------------------------------------------------------------


def _counted(parts: Parts) -> Number | None:
    value = parts.value
    members = _members(parts)
    if not members or value.dimension != MARKET:
        count = parts.own("counted", value.observed)
        return parts.said(f"counted {count}", count)
    dimension, names = members
    found = {
        name: parts.observed(f"{value.index} of {name}", value.index, dimension, name)
        for name in names
    }
    if not any(each is not None for each in found.values()):
        count = parts.own("counted", value.observed)
        return parts.said(f"counted {count}", count)
    total = sum(each or 0 for each in found.values())
    return parts.said(f"sum over {dimension}: {_sum(found.values())}", total)


def _members(parts: Parts) -> tuple[str, tuple[str, ...]] | None:
    """Dimension whose members add up to the market's count."""
    value, market = parts.value, parts.market
    if value.index in ("units", "sales"):
        return CATEGORY, market.categories
    if value.index in ("payments", "amount"):
        return METHOD, market.methods
    # An order may have lines in several categories, but has one channel; the day book has none.
    return (CHANNEL, market.channels) if value.day is None else None


def _sum(counts: Iterable[int | None]) -> str:
    return " + ".join(str(each) for each in counts if each) or "0"


def _ledger(parts: Parts) -> Number | None:
    value = parts.value
    index, _, ledger = value.index.rpartition("_")
    left = parts.own(value.index, value.observed)
    gross = parts.observed(f"{index} placed", index, value.dimension, value.member)
    if gross is None:
        return parts.said(f"{value.index} {left}", left)
    valid = left
    if ledger == "net":
        found = parts.observed(f"{index}_valid", f"{index}_valid", value.dimension, value.member)
        valid = left if found is None else found
    cancelled, refunded = gross - valid, valid - left
    made = f"placed {gross} - cancelled {cancelled}"
    return parts.said(made if ledger == "valid" else f"{made} - refunded {refunded}", left)


# -- ratios --------------------------------------------------------------------------------------


def _divided(parts: Parts, part: int, whole: int) -> Number | None:
    return parts.said(f"{part} / {whole}", ratio(part, whole))


def _over(index: str, of: tuple[str, str] | None = None) -> Callable[[Parts], Number | None]:
    """Own count by the market's; ``of``: what the own count is, to be read from its own record."""

    def make(parts: Parts) -> Number | None:
        value = parts.value
        part = None
        if of is not None:
            name = of[0]
            part = parts.observed(
                f"{name} of {value.member}", name, of[1] or value.dimension, value.member
            )
        if part is None:
            part = parts.own("observed", value.observed)
        whole = parts.observed(f"{index} of the market", index, MARKET, ALL)
        if whole is None:
            whole = parts.own("n", value.n)
        return _divided(parts, part, whole)

    return make


def _over_chosen(parts: Parts) -> Number | None:
    value = parts.value
    found = {
        name: parts.observed(f"orders that chose {name}", "orders", METHOD, name)
        for name in parts.market.methods
    }
    if any(each is None for each in found.values()):
        return _divided(parts, parts.own("observed", value.observed), parts.own("n", value.n))
    return _divided(parts, found[value.member] or 0, sum(each or 0 for each in found.values()))


def _failure(parts: Parts) -> Number | None:
    value = parts.value
    failed = parts.own("failed", value.observed)
    captured = parts.observed("captured", "payments", value.dimension, value.member)
    tried = parts.own("failed and captured", value.n) if captured is None else failed + captured
    return _divided(parts, failed, tried)


def _digital(parts: Parts) -> Number | None:
    value = parts.value
    found = [
        parts.observed(f"payments by {name}", "payments", METHOD, name)
        for name in parts.market.methods
        if name in parts.market.digital
    ]
    whole = parts.observed("payments of the market", "payments", MARKET, ALL)
    if whole is None or any(each is None for each in found):
        return _divided(parts, parts.own("observed", value.observed), parts.own("n", value.n))
    return _divided(parts, sum(each or 0 for each in found), whole)


def _cohort(parts: Parts) -> Number | None:
    value = parts.value
    placed = parts.observed("payments that name their order's day", "payments", MARKET, ALL)
    if placed is None:
        placed = parts.own("payments that name their order's day", value.observed)
    return _divided(parts, placed, parts.own("captured payments", value.n))


# -- estimated ------------------------------------------------------------------------------------


def _shoppers(parts: Parts) -> Number | None:
    found = parts.own("different shoppers, by the sketch", parts.value.observed)
    return parts.said(f"estimate {found}", found or None)


def _per_shopper(parts: Parts) -> Number | None:
    orders = parts.own("orders that name a shopper", parts.value.observed)
    shoppers = parts.observed("shoppers", SHOPPERS, MARKET, ALL)
    if shoppers is None:
        raise NotKnownError("the shoppers of the same window are not in what was read")
    return _divided(parts, orders, shoppers)


def _new(parts: Parts) -> Number | None:
    value = parts.value
    new = parts.own("orders of new shoppers", value.observed)
    return _divided(parts, new, parts.own("orders that say whether the shopper is new", value.n))


def limits_of(value: Value, number: Number | None) -> tuple[float | None, float | None]:
    """``lower`` and ``upper`` of a number that is estimated; of any other there are none."""
    if number is None or value.index == NEW_SHOPPER_SHARE:
        return None, None
    shoppers = number if value.index == SHOPPERS else round((value.observed or 0) / number)
    entries = shopper_entries(value.observed or 0, 0, 0, round(shoppers))
    return next((each.lower, each.upper) for each in entries if each.name == value.index)


# -- measured ------------------------------------------------------------------------------------


def _demand(counted: str) -> Callable[[Parts], Number | None]:
    def make(parts: Parts) -> Number | None:
        value = parts.value
        found = parts.observed(f"{counted} counted", counted, value.dimension, value.member)
        observed = parts.own(f"{counted} counted", value.observed) if found is None else found
        if value.expected is None:
            return parts.said("nothing is known to compare with: no value", None)
        exact = parts.exact()
        parts.terms.append(Term("expected, millionths", exact, f"vintage {value.vintage}"))
        index = 100 * SCALE * observed / exact if exact > 0 else None
        return parts.said(f"100 x {observed} / {exact / SCALE}", index)

    return make


def _change(parts: Parts) -> Number | None:
    value = parts.value
    if value.covered < 1:
        return parts.said(f"covered {value.covered}: the earlier hours are not all known", None)
    before, hours = parts.before()
    now = parts.own("orders of the last whole hours", value.observed)
    parts.terms.append(
        Term(f"orders of the {hours} hours before", before, "hour closings of the journal")
    )
    change = (now - before) / before if before > 0 else None
    return parts.said(f"({now} - {before}) / {before}", change)


def _level(parts: Parts) -> Number | None:
    value = parts.value
    net = parts.observed("net sales of the day", "sales_net", value.dimension, value.member)
    if net is None:
        net = parts.own("net sales of the day", value.observed)
    if value.covered < COVERED_MIN:
        return parts.said(f"covered {value.covered} is below {COVERED_MIN}: no value", None)
    if value.vintage is None:
        return parts.said("the base period is not over: no value", None)
    base = parts.base()
    parts.terms.append(
        Term(f"net sales of the {base.days} days of base {base.name}", base.net_minor, base.where)
    )
    number = 100 * net * base.days / base.net_minor if base.net_minor > 0 else None
    return parts.said(f"100 x {net} x {base.days} / {base.net_minor}", number)


def _mix(parts: Parts) -> Number | None:
    value = parts.value
    methods = parts.market.methods
    counts = [parts.observed(f"payments by {name}", "payments", METHOD, name) for name in methods]
    if value.expected is None:
        return parts.said("the expected mix is not known: no value", None)
    if any(each is None for each in counts):
        raise NotKnownError("the payments of each method are not in what was read")
    expected = parts.mix()
    parts.terms += [
        Term(f"expected by {name}, millionths", each, f"vintage {value.vintage}")
        for name, each in zip(methods, expected, strict=True)
    ]
    observed = [each or 0 for each in counts]
    shift = mix_shift(observed, expected)
    return parts.said(
        f"distance of {observed} from the expected mix less its mean by chance", shift
    )


_COUNT = {
    "orders": "placed orders; of a category those with a line in it",
    "units": "sum of quantity over the lines",
    "sales": "sum of quantity x unit price over the lines",
    "payments": "captured payments",
    "amount": "amount of captured payments",
}
_LESS = {"valid": "placed - cancelled", "net": "placed - cancelled - refunded"}
_CHANGE = "(orders now - orders {0} earlier) / orders {0} earlier, the same local hours"

FORMULAS: dict[str, Formula] = {
    **{name: Formula(words, WINDOW, _counted) for name, words in _COUNT.items()},
    **{
        f"{name}_{ledger}": Formula(
            f"{name}: {words}, of orders placed that day", DAY_BOOK, _ledger
        )
        for name in ("orders", "units", "sales")
        for ledger, words in _LESS.items()
    },
    "category_share_by_orders": Formula(
        "orders with a line in the category / orders", WINDOW, _over("orders", ("orders", CATEGORY))
    ),
    "category_share_by_sales": Formula(
        "sales of the category / sales", WINDOW, _over("sales", ("sales", CATEGORY))
    ),
    "payment_share_by_count": Formula(
        "payments by the method / payments", WINDOW, _over("payments", ("payments", METHOD))
    ),
    "payment_share_by_amount": Formula(
        "amount by the method / amount", WINDOW, _over("amount", ("amount", METHOD))
    ),
    "payment_chosen_share": Formula(
        "orders that chose the method / orders that chose any", WINDOW, _over_chosen
    ),
    "payment_failure_ratio": Formula("failed / (failed + captured)", WINDOW, _failure),
    "digital_share": Formula("captured by digital methods / captured", WINDOW, _digital),
    "basket_sales": Formula("sales / orders", WINDOW, _over("orders", ("sales", MARKET))),
    "basket_units": Formula("units / orders", WINDOW, _over("orders", ("units", MARKET))),
    SHOPPERS: Formula(
        "different shoppers of placed orders, estimated; limits: 2 standard errors of 1.625 %",
        SHOPPERS_ANCHOR,
        _shoppers,
    ),
    ORDERS_PER_SHOPPER: Formula(
        "placed orders that name their shopper / shoppers", SHOPPERS_ANCHOR, _per_shopper
    ),
    NEW_SHOPPER_SHARE: Formula(
        "placed orders of new shoppers / placed orders that say whether theirs is new",
        SHOPPERS_ANCHOR,
        _new,
    ),
    "cohort_coverage": Formula(
        "captured payments that say when their order was placed / all captured payments",
        DAY_BOOK,
        _cohort,
    ),
    "demand_index_orders": Formula("100 x orders / expected", DEMAND_ANCHOR, _demand("orders")),
    "demand_index_units": Formula("100 x units / expected", DEMAND_ANCHOR, _demand("units")),
    "demand_index_sales": Formula("100 x sales / expected", DEMAND_ANCHOR, _demand("sales")),
    "payment_index": Formula(
        "100 x captured payments / expected", DEMAND_ANCHOR, _demand("payments")
    ),
    "change_day": Formula(_CHANGE.format("a day"), DEMAND_ANCHOR, _change),
    "change_week": Formula(_CHANGE.format("a week"), DEMAND_ANCHOR, _change),
    LEVEL: Formula("100 x net sales of the day / mean of the base's days", LEVEL_ANCHOR, _level),
    "mix_shift": Formula(
        "total variation of the methods' shares from the expected ones - its mean by chance",
        DEMAND_ANCHOR,
        _mix,
    ),
}
"""Every index of docs/contract.md."""


def formula_of(value: Value) -> Formula:
    """Formula of a published value; a counted index of a day is the day book's."""
    formula = FORMULAS[value.index]
    if value.day is None or value.index in SHOPPER_INDICES or value.index == LEVEL:
        return formula
    return formula._replace(anchor=DAY_BOOK)
