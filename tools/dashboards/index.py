"""Dashboard "Index": what is sold and paid, what is expected, and the shifts between the two."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from tools.dashboards.panels import (
    SOURCE,
    choice,
    heat,
    lines,
    number,
    ranks,
    states,
    thresholds,
    titled,
)

OF = 'market="$market",window="$window"'
ORDERS = f"market_window:ecindex_market_orders:max{{{OF}}}"
EXPECTED = f"market_window:ecindex_market_orders_expected:max{{{OF}}}"
SALES = f"market_window:ecindex_market_sales_minor:max{{{OF}}}"
# Mean order of the widest covered window: a market that began an hour ago has no day's basket.
BASKET = " or on (market) ".join(
    f'market_window:ecindex_market_sales_minor:max{{market="$market",window="{window}"}}'
    f' / on (market) market_window:ecindex_market_orders:max{{market="$market",window="{window}"}}'
    for window in ("24h", "1h", "5m")
)
EXPECTED_SALES = f"{EXPECTED} * on (market) ({BASKET})"
# Two standard deviations of a count of this size. Days differ by more: a page needs more than this.
ROOM = "2 * sqrt({0})"
MOVED = (
    f"market_category_window:ecindex_orders:max{{{OF}}} - on (market, category, window)"
    f" market_category_window:ecindex_orders_expected:max{{{OF}}}"
)
EVIDENCE = "market_dimension_member:ecindex_demand_shift_evidence_ratio:max"
SHIFTED = "market_dimension_member:ecindex_demand_shift_direction"
SHIFTS = (
    f'count(({SHIFTED}:max{{market="$market"}} > 0) or ({SHIFTED}:min{{market="$market"}} < 0))'
    " or vector(0)"
)
AGE_LEVELS = ((None, "green"), (15.0, "orange"), (60.0, "red"))
INDEX_LEVELS = (
    (None, "dark-red"),
    (50.0, "orange"),
    (75.0, "green"),
    (133.0, "light-blue"),
    (200.0, "dark-blue"),
)


def index_dashboard() -> dashboard.Dashboard:
    """Build the dashboard of one market and window."""
    board = (
        titled(
            "Index",
            "ecindex-index",
            "What is sold and paid in a market, against what is expected.",
        )
        .with_variable(
            choice(
                "market",
                "Market",
                "label_values(market:ecindex_index_as_of_timestamp_seconds:max, market)",
            )
        )
        .with_variable(
            choice(
                "window",
                "Window",
                'label_values(market_window:ecindex_market_orders:max{market="$market"}, window)',
                first="5m",
            )
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Shifts")
            .datasource(SOURCE)
            .enable(enable=True)
            .icon_color("red")
            .expr(
                'ALERTS{alertname=~"EcindexMarketOutage|EcindexMarketShift|EcindexDemandShift'
                '|EcindexPaymentMethodCollapsed",alertstate="firing",market="$market"}'
            )
        )
    )
    _now(board)
    _expected(board)
    _categories(board)
    _payments(board)
    _shifts(board)
    return board


def _now(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Now"))
    board.with_panel(number("Orders", ORDERS))
    board.with_panel(
        number("Expected", EXPECTED, decimals=0, description="Expected orders of this window.")
    )
    board.with_panel(
        number(
            "Demand index",
            f"market_window:ecindex_market_demand_index:max{{{OF}}}",
            decimals=0,
            description="100: as expected.",
            levels=thresholds(*INDEX_LEVELS),
        )
    )
    board.with_panel(number("Sales, minor units", SALES, description="Of the market's currency."))
    board.with_panel(
        number(
            "Shifts",
            SHIFTS,
            levels=thresholds((None, "green"), (1.0, "red")),
            description="Active now.",
        )
    )
    board.with_panel(
        number(
            "Age of the values",
            'market:ecindex_index_age_seconds:min{market="$market"}',
            unit="s",
            levels=thresholds(*AGE_LEVELS),
        )
    )


def _expected(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Observed against expected"))
    for title, observed, expected, room, description in (
        (
            "Orders",
            ORDERS,
            EXPECTED,
            ROOM.format(EXPECTED),
            "Band: expected, plus and minus two square roots of it.",
        ),
        (
            "Sales, minor units",
            SALES,
            EXPECTED_SALES,
            f"{ROOM.format(EXPECTED)} * on (market) ({BASKET})",
            "Expected orders, times the mean order of 24 hours.",
        ),
    ):
        board.with_panel(
            lines(
                title,
                [
                    (observed, "observed"),
                    (expected, "expected"),
                    (f"{expected} - on (market) ({room})", "lower"),
                    (f"{expected} + on (market) ({room})", "upper"),
                ],
                description=description,
                band=("lower", "upper"),
            )
        )
    board.with_panel(
        lines(
            "Shoppers",
            [('market_window:ecindex_market_shoppers:max{market="$market"}', "{{window}}")],
            description="Different shoppers of placed orders, give or take 1.6 %.",
        )
    )
    board.with_panel(
        lines(
            "Demand index of every window",
            [('market_window:ecindex_market_demand_index:max{market="$market"}', "{{window}}")],
            description="100: as expected.",
        )
    )
    board.with_panel(
        lines(
            "Age of every market's values",
            [("market_source:ecindex_index_source_age_seconds:min", "{{market}} {{source}}")],
            unit="s",
        )
    )


def _categories(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Categories and regions"))
    description = "Observed minus expected orders of the window."
    board.with_panel(
        ranks("Most above expected", (f"topk(8, {MOVED})", "{{category}}"), description=description)
    )
    board.with_panel(
        ranks(
            "Most below expected", (f"bottomk(8, {MOVED})", "{{category}}"), description=description
        )
    )
    board.with_panel(
        heat(
            "Demand index by category",
            (f"market_category_window:ecindex_demand_index:max{{{OF}}}", "{{category}}"),
            thresholds(*INDEX_LEVELS),
            unit="short",
            description="100: as expected.",
        )
    )
    board.with_panel(
        heat(
            "Evidence of a shift by region",
            (
                f'{EVIDENCE}{{market="$market",dimension="region"}}',
                "{{member}}",
            ),
            thresholds((None, "green"), (0.1, "yellow"), (0.5, "orange"), (1.0, "red")),
            unit="percentunit",
            description="Share of the paging threshold; 100 % from the page until the shift is over.",
        )
    )
    board.with_panel(
        lines(
            "Orders by category",
            [(f"market_category_window:ecindex_orders:max{{{OF}}}", "{{category}}")],
        )
    )
    board.with_panel(
        lines(
            "Sales by category, minor units",
            [(f"market_category_window:ecindex_sales_minor:max{{{OF}}}", "{{category}}")],
            stacked=True,
        )
    )
    board.with_panel(
        lines(
            "Share of sales by category",
            [
                (
                    f'market_category_window_by:ecindex_category_share_ratio:max{{{OF},by="sales"}}',
                    "{{category}}",
                )
            ],
            unit="percentunit",
            stacked=True,
        )
    )


def _payments(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Payments"))
    for title, by in (
        ("Captured payments by method", "count"),
        ("Captured amount by method", "amount"),
        ("Method chosen by orders", "chosen"),
    ):
        share = f'market_method_window_by:ecindex_payment_share_ratio:max{{{OF},by="{by}"}}'
        board.with_panel(
            lines(title, [(share, "{{method}}")], unit="percentunit", stacked=True, width=8)
        )
    board.with_panel(
        lines(
            "Captured payments",
            [(f"market_window:ecindex_market_payments:max{{{OF}}}", "payments")],
        )
    )
    board.with_panel(
        lines(
            "Failed payments by method",
            [(f"market_method_window:ecindex_payment_failure_ratio:max{{{OF}}}", "{{method}}")],
            unit="percentunit",
        )
    )


def _shifts(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Shifts"))
    member = "{{dimension}} {{member}}"
    board.with_panel(
        states(
            "Shifts",
            [
                (f'{SHIFTED}:max{{market="$market"}} > 0', f"{member} up"),
                (f'{SHIFTED}:min{{market="$market"}} < 0', f"{member} down"),
            ],
            thresholds((None, "orange"), (0.0, "blue")),
            description="Only series with an active shift are shown.",
        )
    )
    board.with_panel(
        lines(
            "Most evidence of a shift",
            [
                (
                    f'topk(8, clamp_max({EVIDENCE}{{market="$market"}}, 1))',
                    member,
                )
            ],
            unit="percentunit",
            description="Share of the paging threshold; 100 % from the page until the shift is over.",
        )
    )
    board.with_panel(
        number(
            "Detectors warming",
            'sum(market_dimension_member:ecindex_detector_warming:max{market="$market"})',
            description="They have learnt too little to judge their series.",
        )
    )
