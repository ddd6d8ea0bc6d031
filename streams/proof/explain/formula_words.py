"""The formula of each index in words, where docs/methodology.md explains it, and its function."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streams.index.indices import (
    NEW_SHOPPER_SHARE,
    ORDERS_PER_SHOPPER,
    SHOPPER_INDICES,
    SHOPPERS,
)
from streams.index.level import LEVEL
from streams.index.values import COVERED_MIN, Value
from streams.proof.explain.explanation_types import Number
from streams.proof.explain.gathered_sums import Parts
from streams.proof.explain.terms import (
    make_change,
    make_chosen_share,
    make_cohort_coverage,
    make_count,
    make_demand_index,
    make_digital_share,
    make_failure_ratio,
    make_ledger,
    make_level,
    make_mix_shift,
    make_new_share,
    make_orders_per_shopper,
    make_share,
    make_shoppers,
)

WINDOW, DAY_BOOK, SHOPPERS_ANCHOR, DEMAND_ANCHOR, LEVEL_ANCHOR = (
    "counted-a-window",
    "counted-the-day-book",
    "estimated-shoppers",
    "measured-demand",
    "measured-the-level",
)
"""Headings of docs/methodology.md."""


class Formula(NamedTuple):
    """A formula in words, the heading of docs/methodology.md that explains it, and its function."""

    words: str
    anchor: str
    make: Callable[[Parts], Number | None]


_COUNT = {
    "orders": "placed orders; for a category, those with a line in it",
    "units": "sum of quantity over the lines",
    "sales": "sum of quantity x unit price over the lines",
    "payments": "captured payments",
    "amount": "amount of captured payments",
}
_LESS = {"valid": "placed - cancelled", "net": "placed - cancelled - refunded"}
_CHANGE = "(orders now - orders {0} earlier) / orders {0} earlier, the same local hours"

FORMULAS: dict[str, Formula] = {
    **{name: Formula(words, WINDOW, make_count) for name, words in _COUNT.items()},
    **{
        f"{name}_{ledger}": Formula(
            f"{name}: {words}, of orders placed that day", DAY_BOOK, make_ledger
        )
        for name in ("orders", "units", "sales")
        for ledger, words in _LESS.items()
    },
    "category_share_by_orders": Formula(
        "orders with a line in the category / orders", WINDOW, make_share("orders", "orders")
    ),
    "category_share_by_sales": Formula(
        "sales of the category / sales", WINDOW, make_share("sales", "sales")
    ),
    "payment_share_by_count": Formula(
        "payments by the method / payments", WINDOW, make_share("payments", "payments")
    ),
    "payment_share_by_amount": Formula(
        "amount by the method / amount", WINDOW, make_share("amount", "amount")
    ),
    "payment_chosen_share": Formula(
        "orders that chose the method / orders that chose any", WINDOW, make_chosen_share
    ),
    "payment_failure_ratio": Formula("failed / (failed + captured)", WINDOW, make_failure_ratio),
    "digital_share": Formula("captured by digital methods / captured", WINDOW, make_digital_share),
    "basket_sales": Formula("sales / orders", WINDOW, make_share("orders", "sales")),
    "basket_units": Formula("units / orders", WINDOW, make_share("orders", "units")),
    SHOPPERS: Formula(
        "different shoppers of placed orders, estimated; limits: 2 standard errors of 1.625 %",
        SHOPPERS_ANCHOR,
        make_shoppers,
    ),
    ORDERS_PER_SHOPPER: Formula(
        "placed orders that name their shopper / shoppers", SHOPPERS_ANCHOR, make_orders_per_shopper
    ),
    NEW_SHOPPER_SHARE: Formula(
        "placed orders of new shoppers / placed orders that say whether theirs is new",
        SHOPPERS_ANCHOR,
        make_new_share,
    ),
    "cohort_coverage": Formula(
        "captured payments that say when their order was placed / all captured payments",
        DAY_BOOK,
        make_cohort_coverage,
    ),
    "demand_index_orders": Formula(
        "100 x orders / expected", DEMAND_ANCHOR, make_demand_index("orders")
    ),
    "demand_index_units": Formula(
        "100 x units / expected", DEMAND_ANCHOR, make_demand_index("units")
    ),
    "demand_index_sales": Formula(
        "100 x sales / expected", DEMAND_ANCHOR, make_demand_index("sales")
    ),
    "payment_index": Formula(
        "100 x captured payments / expected", DEMAND_ANCHOR, make_demand_index("payments")
    ),
    "change_day": Formula(_CHANGE.format("a day"), DEMAND_ANCHOR, make_change),
    "change_week": Formula(_CHANGE.format("a week"), DEMAND_ANCHOR, make_change),
    LEVEL: Formula(
        "100 x net sales of the day / mean of the base's days", LEVEL_ANCHOR, make_level
    ),
    "mix_shift": Formula(
        "total variation of the methods' shares from the expected ones - its mean by chance",
        DEMAND_ANCHOR,
        make_mix_shift,
    ),
}
"""Every index of docs/contract.md."""


def formula_of(value: Value) -> Formula:
    """Return the formula of a published value. Counts of a day are explained as the day book."""
    formula = FORMULAS[value.index]
    if value.day is None or value.index in SHOPPER_INDICES or value.index == LEVEL:
        return formula
    return formula._replace(anchor=DAY_BOOK)


def number_of(parts: Parts, formula: Formula) -> Number | None:
    """Compute the number to publish; None if too little of the window is covered."""
    value = parts.value
    if value.day is None and value.covered < COVERED_MIN:
        return parts.result(f"covered {value.covered} is below {COVERED_MIN}: no value", None)
    return formula.make(parts)
