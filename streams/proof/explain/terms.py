"""Says which sums the number of an index is made from, and where they are read. No IO.

The arithmetic is that of ``recompute``. Where other records hold the parts (members of a total, both
sides of a share), the sums are made from those and not from the value's own fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from streams.index.demand import SCALE, mix_shift
from streams.index.indices import (
    ALL,
    CATEGORY,
    CHANNEL,
    MARKET,
    METHOD,
    SHOPPERS,
)
from streams.index.values import COVERED_MIN
from streams.proof.explain.explanation_types import Number, Term
from streams.proof.explain.gathered_sums import Parts, sum_of
from streams.proof.explain.journaled_vintages import NotKnownError
from streams.proof.recompute.comparisons import change, demand_index, level_index
from streams.proof.recompute.sums import Sums

# -- counts --------------------------------------------------------------------------------------


def make_count(parts: Parts) -> Number | None:
    """Make a count: for the market the sum over its members, for any other its own count."""
    value = parts.value
    own = sum_of(value.index, value.dimension, value.member, day=value.day is not None)
    members = _members(parts) if value.dimension == MARKET else None
    if members is not None:
        dimension, names = members
        found = [
            parts.observed(f"{value.index} of {name}", value.index, dimension, name)
            for name in names
        ]
        if any(each is not None for each in found):
            parts.sums[own] = sum(each or 0 for each in found)
            return parts.result(f"sum over {dimension}: {_sum(found)}", parts.counted().value)
    rows = parts.rows
    if rows is not None and rows.observed is not None and (rows.make(value) or not rows.why):
        parts.terms += [Term(f"of {part.source}", part.observed, part.where) for part in rows.parts]
        parts.sums[own] = rows.observed
        made = _sum(part.observed for part in rows.parts)
        return parts.result(f"sum of the rows counted: {made}", parts.counted().value)
    parts.sums[own] = parts.own("counted", value.observed)
    why = "" if rows is None else f", which cannot be made again: {rows.why}"
    return parts.result(f"counted {parts.sums[own]}{why}", parts.counted().value)


def _members(parts: Parts) -> tuple[str, tuple[str, ...]] | None:
    """Return the dimension whose members add up to the market's count, and these; None: no such one."""
    value, market = parts.value, parts.market
    if value.index in ("units", "sales"):
        return CATEGORY, market.categories
    if value.index in ("payments", "amount"):
        return METHOD, market.methods
    # An order may have lines in several categories, but has one channel. The day book has no channels.
    return (CHANNEL, market.channels) if value.day is None else None


def _sum(counts: Iterable[int | None]) -> str:
    return " + ".join(str(each) for each in counts if each) or "0"


def make_ledger(parts: Parts) -> Number | None:
    """Make what is left of placed orders: less cancels (valid), less refunds too (net)."""
    value = parts.value
    index, _, ledger = value.index.rpartition("_")
    left = parts.own(value.index, value.observed)
    placed = parts.observed(f"{index} placed", index, value.dimension, value.member)
    if placed is None:
        return parts.result(f"{value.index} {left}", left)
    valid = left
    if ledger == "net":
        found = parts.find(f"{index}_valid", value.dimension, value.member)
        if found is not None:
            valid = found.value.observed or 0
            parts.terms.append(Term(f"{index}_valid", found.value.observed, found.where))
    cancelled, refunded = placed - valid, valid - left
    parts.sums[f"{parts.prefix}cancelled/{index}"] = cancelled
    parts.sums[f"{parts.prefix}refunded/{index}"] = refunded
    made = f"placed {placed} - cancelled {cancelled}"
    made = made if ledger == "valid" else f"{made} - refunded {refunded}"
    return parts.result(made, parts.counted().value)


# -- ratios --------------------------------------------------------------------------------------


def make_share(whole: str, part: str) -> Callable[[Parts], Number | None]:
    """Return a formula: a count of the value's own member, divided by one of the market."""

    def make(parts: Parts) -> Number | None:
        value = parts.value
        name = f"{part} of {value.member}"
        if parts.observed(name, part, value.dimension, value.member) is None:
            own = sum_of(part, value.dimension, value.member, day=False)
            parts.sums[own] = parts.own("observed", value.observed)
        if parts.observed(f"{whole} of the market", whole, MARKET, ALL) is None:
            if whole not in ("orders", "payments"):  # n counts orders or payments, never amounts
                raise NotKnownError(f"the {whole} of the market are not in what was read")
            parts.sums[whole] = parts.own("n", value.n)
        return parts.divided()

    return make


def make_chosen_share(parts: Parts) -> Number | None:
    """Divide orders that chose the method by orders that chose any."""
    value = parts.value
    found = [
        parts.observed(f"orders that chose {name}", "orders", METHOD, name)
        for name in parts.market.methods
    ]
    parts.sums["chosen"] = sum(each or 0 for each in found)
    if any(each is None for each in found):
        parts.sums[f"{parts.prefix}orders"] = parts.own("observed", value.observed)
        parts.sums["chosen"] = parts.own("n", value.n)
    return parts.divided()


def make_failure_ratio(parts: Parts) -> Number | None:
    """Divide failed payments by failed and captured ones."""
    value = parts.value
    failed = parts.sums[f"{parts.prefix}failed"] = parts.own("failed", value.observed)
    if parts.observed("captured", "payments", value.dimension, value.member) is None:
        captured = sum_of("payments", value.dimension, value.member, day=False)
        parts.sums[captured] = parts.own("failed and captured", value.n) - failed
    return parts.divided()


def make_digital_share(parts: Parts) -> Number | None:
    """Divide payments captured by digital methods by all captured ones."""
    value = parts.value
    digital = [name for name in parts.market.methods if name in parts.market.digital]
    found = [parts.observed(f"payments by {name}", "payments", METHOD, name) for name in digital]
    whole = parts.observed("payments of the market", "payments", MARKET, ALL)
    if whole is None or any(each is None for each in found):
        # Only their sum is known, not how much each method had.
        own = parts.own("observed", value.observed)
        parts.sums = Sums({f"method/{name}/captured": own for name in digital[:1]})
        parts.sums["payments"] = parts.own("n", value.n)
    return parts.divided()


def make_cohort_coverage(parts: Parts) -> Number | None:
    """Divide payments that name their order's day by all captured ones."""
    value, name = parts.value, "captured payments of the day"
    total = parts.observed(name, "payments", MARKET, ALL)
    if total is None:
        total = parts.sums["payments"] = parts.own(name, value.n)
    placed = parts.own("those that name their order's day", value.observed)
    parts.sums["unplaced_payments"] = total - placed
    return parts.divided()


# -- estimated ------------------------------------------------------------------------------------


def make_shoppers(parts: Parts) -> Number | None:
    """Make the number of different shoppers, as the sketch estimates it."""
    parts.shoppers = parts.own("different shoppers, by the sketch", parts.value.observed)
    return parts.result(f"estimate {parts.shoppers}", parts.counted().value)


def make_orders_per_shopper(parts: Parts) -> Number | None:
    """Divide orders that name a shopper by shoppers. Raises NotKnownError."""
    orders = parts.own("orders that name a shopper", parts.value.observed)
    shoppers = parts.observed("shoppers", SHOPPERS, MARKET, ALL)
    if shoppers is None:
        raise NotKnownError("the shoppers of the same window are not in what was read")
    parts.shoppers, parts.sums = shoppers, Sums({"shopper_orders": orders})
    return parts.divided()


def make_new_share(parts: Parts) -> Number | None:
    """Divide orders of new shoppers by orders that say whether theirs is new."""
    value, known = parts.value, "orders that say whether the shopper is new"
    parts.sums["new_shoppers"] = parts.own("orders of new shoppers", value.observed)
    parts.sums["new_known"] = parts.own(known, value.n)
    return parts.divided()


# -- measured ------------------------------------------------------------------------------------


def make_demand_index(counted: str) -> Callable[[Parts], Number | None]:
    """Return a formula: a count, divided by its expectation. The formula raises NotKnownError."""

    def make(parts: Parts) -> Number | None:
        value = parts.value
        found = parts.observed(f"{counted} counted", counted, value.dimension, value.member)
        observed = parts.own(f"{counted} counted", value.observed) if found is None else found
        if value.expected is None:
            return parts.result("nothing is known to compare with: no value", None)
        exact = parts.exact()
        parts.terms.append(Term("expected, millionths", exact, f"vintage {value.vintage}"))
        return parts.result(f"100 x {observed} / {exact / SCALE}", demand_index(observed, exact))

    return make


def make_change(parts: Parts) -> Number | None:
    """Compare orders of the last hours with the same hours before. Raises NotKnownError."""
    value = parts.value
    if value.covered < 1:
        return parts.result(f"covered {value.covered}: the earlier hours are not all known", None)
    before, hours = parts.before()
    now = parts.own("orders of the last whole hours", value.observed)
    parts.terms.append(
        Term(f"orders of the {hours} hours before", before, "hour closings of the journal")
    )
    return parts.result(f"({now} - {before}) / {before}", change(now, before))


def make_level(parts: Parts) -> Number | None:
    """Compare net sales of the day with its base. Raises NotKnownError."""
    value = parts.value
    net = parts.observed("net sales of the day", "sales_net", value.dimension, value.member)
    if net is None:
        net = parts.own("net sales of the day", value.observed)
    if value.covered < COVERED_MIN:
        return parts.result(f"covered {value.covered} is below {COVERED_MIN}: no value", None)
    if value.vintage is None:
        return parts.result("the base period is not over: no value", None)
    base = parts.base()
    parts.terms.append(
        Term(f"net sales of the {base.days} days of base {base.name}", base.net_minor, base.where)
    )
    number = level_index(net, base.days, base.net_minor)
    return parts.result(f"100 x {net} x {base.days} / {base.net_minor}", number)


def make_mix_shift(parts: Parts) -> Number | None:
    """Compare the mix of payments with the expected one. Raises NotKnownError."""
    value = parts.value
    methods = parts.market.methods
    counts = [parts.observed(f"payments by {name}", "payments", METHOD, name) for name in methods]
    if value.expected is None:
        return parts.result("the expected mix is not known: no value", None)
    if any(each is None for each in counts):
        raise NotKnownError("the payments of each method are not in what was read")
    expected = parts.mix()
    parts.terms += [
        Term(f"expected by {name}, millionths", each, f"vintage {value.vintage}")
        for name, each in zip(methods, expected, strict=True)
    ]
    observed = [each or 0 for each in counts]
    shift = mix_shift(observed, expected)
    return parts.result(
        f"distance of {observed} from the expected mix less its mean by chance", shift
    )
