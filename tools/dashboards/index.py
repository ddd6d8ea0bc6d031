"""Dashboard "Index": what is sold and paid, what is expected, and the shifts between the two."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from tools.dashboards.panels import (
    LINKS,
    ROWS_MAX,
    Marks,
    choice,
    heat,
    largest,
    lines,
    names,
    number,
    ranks,
    states,
    thresholds,
    titled,
    unseen,
)

UID = "ecindex-index"
OF_MARKET = 'market="$market"'
OF = f'{OF_MARKET},window="$window"'
ORDERS = f"market_window:ecindex_market_orders:max{{{OF}}}"
EXPECTED = f"market_window:ecindex_market_orders_expected:max{{{OF}}}"
SALES = f"market_window:ecindex_market_sales_minor:max{{{OF}}}"
CATEGORY_ORDERS = f"market_category_window:ecindex_orders:max{{{OF}}}"
CATEGORY_SALES = f"market_category_window:ecindex_sales_minor:max{{{OF}}}"
REGION_ORDERS = f"market_region_window:ecindex_region_orders:max{{{OF}}}"
CATEGORY_BAND = "market_category_window_bound:ecindex_orders_band:max"
MOVED = (
    f"{CATEGORY_ORDERS} - on (market, category, window)"
    f" market_category_window:ecindex_orders_expected:max{{{OF}}}"
)
EVIDENCE = "market_dimension_member:ecindex_demand_shift_evidence_ratio:max"
SHIFTED = "market_dimension_member:ecindex_demand_shift_direction"
BEGAN = "market_dimension_member:ecindex_demand_shift_start_timestamp_seconds:min"
SHIFTS = f"count({BEGAN}{{{OF_MARKET}}}) or vector(0)"
SHIFT_ALERTS = (
    "EcindexMarketOutage",
    "EcindexMarketShift",
    "EcindexDemandShift",
    "EcindexPaymentMethodCollapsed",
)
AGE_LEVELS = ((None, "green"), (15.0, "orange"), (60.0, "red"))
INDEX_LEVELS = (
    (None, "dark-red"),
    (50.0, "orange"),
    (75.0, "green"),
    (133.0, "light-blue"),
    (200.0, "dark-blue"),
)
EVIDENCE_LEVELS = ((None, "green"), (0.1, "yellow"), (0.5, "orange"), (1.0, "red"))
EVIDENCE_MEANS = (
    "Evidence that the series is beyond what is usual, as a share of what pages. From the page "
    "until the shift is over it stays at the evidence of the page."
)
OF_THE_LARGEST = (
    "The 12 largest at the end of the time shown. A scrape holds the 40 largest; the live page "
    "and Redis hold all."
)


def major(minor: str) -> str:
    """PromQL of an amount in units of the market's currency, with the currency as a label."""
    units = f"market_currency:ecindex_currency_minor_units:max{{{OF_MARKET}}}"
    return f"{minor} / on (market) group_left (currency) {units}"


def index_dashboard() -> dashboard.Dashboard:
    """Build the dashboard of one market and window."""
    board = (
        titled(
            "Index", UID, "What is sold and paid in a market, against what is expected there now."
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
                f"label_values(market_window:ecindex_market_orders:max{{{OF_MARKET}}}, window)",
                first="5m",
            )
        )
        .with_variable(
            choice(
                "category",
                "Category",
                f"label_values(market_category_window:ecindex_orders:max{{{OF_MARKET}}}, category)",
            )
        )
        .with_variable(
            unseen(
                "currency",
                "label_values("
                f"market_currency:ecindex_currency_minor_units:max{{{OF_MARKET}}}, currency)",
            )
        )
        .annotation(
            Marks(
                "Shifts that page",
                f'ALERTS{{alertname=~"{"|".join(SHIFT_ALERTS)}",alertstate="firing",{OF_MARKET}}}',
                title="{{alertname}}",
                text="{{market}}: {{dimension}} {{member}}",
                color="red",
            )
        )
        .annotation(
            Marks(
                "Began",
                f"{BEGAN}{{{OF_MARKET}}} * 1000",
                title="A shift began here",
                text="{{market}}: {{dimension}} {{member}}",
                color="orange",
                at_value=True,
            )
        )
    )
    _now(board)
    _expected(board)
    _shifts(board)
    _categories(board)
    _regions(board)
    _payments(board)
    return board


def _now(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Now"))
    board.with_panel(
        number(
            "Orders in $window",
            ORDERS,
            "Placed orders of the market in the newest window.",
            alerts=("EcindexMarketOutage", "EcindexMarketShift"),
        )
    )
    board.with_panel(
        number(
            "Expected in $window",
            EXPECTED,
            "Orders that are expected in this window: by hour, day of the week and trend of the "
            "market.",
            decimals=0,
        )
    )
    board.with_panel(
        number(
            "Demand index",
            f"market_window:ecindex_market_demand_index:max{{{OF}}}",
            "Orders divided by expected orders, times 100. At 100 demand is as expected.",
            decimals=0,
            levels=thresholds(*INDEX_LEVELS),
        )
    )
    board.with_panel(
        number(
            "Sales in $window, $currency",
            major(SALES),
            "Quantity times unit price of all lines of placed orders.",
        )
    )
    board.with_panel(
        number(
            "Shoppers in an hour",
            f'market_window:ecindex_market_shoppers:max{{{OF_MARKET},window="1h"}}',
            "Different shoppers with a placed order in the last hour, give or take 1.6 %.",
        )
    )
    board.with_panel(
        names(
            "Open",
            [(f'{LINKS}{{board!=""}}', "Live page"), (f'{LINKS}{{runbook!=""}}', "Runbook")],
            "The live page of this market, and the instructions for alerts. Their addresses are "
            "the settings links.board and links.runbook of the workers.",
            [
                "${__field.labels.board}/?market=${market:percentencode}",
                "${__field.labels.runbook}",
            ],
            width=4,
        )
    )
    board.with_panel(
        number(
            "Active shifts",
            SHIFTS,
            "Series of this market that are shifted now: the market itself and its members.",
            levels=thresholds((None, "green"), (1.0, "red")),
            alerts=SHIFT_ALERTS,
        )
    )
    board.with_panel(
        number(
            "Largest evidence",
            f"max(clamp_max({EVIDENCE}{{{OF_MARKET}}}, 1))",
            f"{EVIDENCE_MEANS} Of the series with the most.",
            unit="percentunit",
            decimals=0,
            levels=thresholds(*EVIDENCE_LEVELS),
            alerts=SHIFT_ALERTS,
        )
    )
    board.with_panel(
        number(
            "Not fully watched",
            f"sum(market_dimension_member:ecindex_detector_warming:max{{{OF_MARKET}}}) "
            f"+ sum(market_dimension_member:ecindex_detector_restless:max{{{OF_MARKET}}})",
            "Series of which too little was learnt to judge them: they page for nothing. And series "
            "whose bursts come so often that only a larger shift pages.",
            decimals=0,
        )
    )
    board.with_panel(
        number(
            "Age of the values",
            f"market:ecindex_index_age_seconds:min{{{OF_MARKET}}}",
            "Time since the end of the newest window. More than a minute pages, if it was less "
            "before.",
            unit="s",
            levels=thresholds(*AGE_LEVELS),
            alerts=("EcindexNoFreshValues", "EcindexMarketWithoutOwner"),
        )
    )
    board.with_panel(
        number(
            "Alerts",
            f'count(ALERTS{{alertstate="firing",{OF_MARKET}}}) or vector(0)',
            "Alerts of this market that fire now. The red marks on the charts say which.",
            levels=thresholds((None, "green"), (1.0, "red")),
            decimals=0,
            width=8,
        )
    )


def _expected(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Observed against expected"))
    orders, sales = "ecindex_market_orders", "ecindex_market_sales"
    board.with_panel(
        lines(
            "Orders",
            [
                (ORDERS, "observed"),
                (EXPECTED, "expected"),
                *(
                    (f'market_window_bound:{orders}_band:max{{{OF},bound="{which}"}}', which)
                    for which in ("lower", "upper")
                ),
            ],
            "Placed orders of each window. The band is the published one: when nothing has "
            "changed, 95 % of the values lie in it. To leave it is no alarm; the detector weighs "
            "how far and how long.",
            band=("lower", "upper"),
            alerts=("EcindexMarketOutage", "EcindexMarketShift"),
        )
    )
    board.with_panel(
        lines(
            "Sales, $currency",
            [
                (major(SALES), "observed"),
                (
                    major(f"market_window:{sales}_expected_minor:max{{{OF}}}"),
                    "expected",
                ),
                *(
                    (
                        major(
                            f'market_window_bound:{sales}_band_minor:max{{{OF},bound="{which}"}}'
                        ),
                        which,
                    )
                    for which in ("lower", "upper")
                ),
            ],
            "Sales of each window, their published expectation and band, in units of the market's "
            "currency.",
            band=("lower", "upper"),
        )
    )
    board.with_panel(
        lines(
            "Shoppers",
            [(f"market_window:ecindex_market_shoppers:max{{{OF_MARKET}}}", "{{window}}")],
            "Different shoppers of placed orders in an hour and in a day, give or take 1.6 %.",
        )
    )
    board.with_panel(
        lines(
            "Demand index of every window",
            [(f"market_window:ecindex_market_demand_index:max{{{OF_MARKET}}}", "{{window}}")],
            "At 100 demand is as expected. A short window moves first, a long one says whether it "
            "lasts.",
        )
    )
    board.with_panel(
        lines(
            "Age of every market's values",
            [("market_source:ecindex_index_source_age_seconds:min", "{{market}} {{source}}")],
            "Time since the end of the newest window, by market and by input. An input that "
            "stands still makes only its own values old.",
            unit="s",
            width=24,
            many=True,
            alerts=("EcindexNoFreshValues",),
        )
    )


def _shifts(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Shifts"))
    member = "{{dimension}} {{member}}"
    board.with_panel(
        states(
            "Shifts",
            [
                (f"{SHIFTED}:max{{{OF_MARKET}}} > 0", f"{member} up"),
                (f"{SHIFTED}:min{{{OF_MARKET}}} < 0", f"{member} down"),
            ],
            "Only series with an active shift. Blue: above what is usual. Orange: below.",
            thresholds((None, "orange"), (0.0, "blue")),
            alerts=SHIFT_ALERTS,
        )
    )
    board.with_panel(
        lines(
            "Pages of a year",
            [
                (f'max by (word) (ecindex_shift_pages{{{OF_MARKET},days="365"}})', "{{word}}"),
                (
                    f'max(ecindex_shift_false_pages_budget{{{OF_MARKET},days="365"}})',
                    "false, allowed",
                ),
                (
                    f'max by (bound) (ecindex_shift_false_pages_limit{{{OF_MARKET},days="365"}})',
                    "false, {{bound}} limit",
                ),
            ],
            "Incidents that paged in 365 days, by what operators said of them: confirmed, false or "
            "open. The limits (95 %) are of the false ones; each open one may be false. The budget "
            "is that of the days that were watched.",
        )
    )
    of_each = f"{EVIDENCE}{{{OF_MARKET}}}"
    most = f"topk(8, max_over_time({of_each}[$__range] @ end()))"
    board.with_panel(
        lines(
            "Most evidence of a shift",
            [(f"clamp_max({of_each}, 1) and on (dimension, member) {most}", member)],
            f"{EVIDENCE_MEANS} The 8 series that had the most in the time shown.",
            unit="percentunit",
            many=True,
            alerts=SHIFT_ALERTS,
        )
    )


def _categories(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Categories"))
    chosen = (
        f"/d/{UID}?${{datasource:queryparam}}&${{market:queryparam}}&${{window:queryparam}}"
        "&var-category=${__field.labels.category:percentencode}&${__url_time_range}"
    )
    description = (
        "Observed minus expected orders of the window: 8 categories. Click a bar to see the "
        "category against its expectation."
    )
    board.with_panel(
        ranks("Most above expected", (f"topk(8, {MOVED})", "{{category}}"), description, to=chosen)
    )
    board.with_panel(
        ranks(
            "Most below expected", (f"bottomk(8, {MOVED})", "{{category}}"), description, to=chosen
        )
    )
    five = f'{OF_MARKET},category="$category",window="5m"'
    board.with_panel(
        lines(
            "Orders of $category in 5 minutes",
            [
                (f"market_category_window:ecindex_orders:max{{{five}}}", "observed"),
                (f"market_category_window:ecindex_orders_expected:max{{{five}}}", "expected"),
                *(
                    (
                        f'{CATEGORY_BAND}{{{five},bound="{which}"}}',
                        which,
                    )
                    for which in ("lower", "upper")
                ),
            ],
            "The chosen category against its published expectation and band. Always of 5 minutes: "
            "other windows have no band in Prometheus.",
            band=("lower", "upper"),
            alerts=("EcindexDemandShift",),
        )
    )
    board.with_panel(
        heat(
            "Demand index by category",
            (
                largest(
                    f"market_category_window:ecindex_demand_index:max{{{OF}}}",
                    "category",
                    CATEGORY_ORDERS,
                    ROWS_MAX,
                ),
                "{{category}}",
            ),
            "At 100 a category is as expected. The 20 categories with the most orders.",
            thresholds(*INDEX_LEVELS),
            unit="short",
        )
    )
    board.with_panel(
        lines(
            "Orders by category",
            [(largest(CATEGORY_ORDERS, "category"), "{{category}}")],
            f"Placed orders with a line in the category. {OF_THE_LARGEST}",
            many=True,
        )
    )
    sold = largest(CATEGORY_SALES, "category")
    board.with_panel(
        lines(
            "Sales by category, $currency",
            [
                (major(f"({sold})"), "{{category}}"),
                (major(f"({SALES} - on (market) sum by (market) ({sold}))"), "all the others"),
            ],
            f"Sales of placed orders' lines, in units of the market's currency. {OF_THE_LARGEST}",
            stacked=True,
            many=True,
        )
    )
    share = f'market_category_window_by:ecindex_category_share_ratio:max{{{OF},by="sales"}}'
    board.with_panel(
        lines(
            "Share of sales by category",
            [
                (largest(share, "category"), "{{category}}"),
                (f"1 - sum by (market) ({largest(share, 'category')})", "all the others"),
            ],
            f"Part of the market's sales. {OF_THE_LARGEST}",
            unit="percentunit",
            stacked=True,
            many=True,
            width=24,
        )
    )
    part = f"market_dimension:ecindex_other_orders:max{{{OF_MARKET}}}"
    orders = f"market:ecindex_local_day_orders:max{{{OF_MARKET}}}"
    board.with_panel(
        lines(
            "Orders of today in other",
            [(f"{part} / on (market) group_left () {orders}", "{{dimension}}")],
            "Part of the orders of the local day so far that is in the member other, by dimension.",
            unit="percentunit",
            alerts=("EcindexLabelsWithoutRoom",),
        )
    )
    undeclared = f"market_dimension_label:ecindex_undeclared_label_orders:max{{{OF_MARKET}}}"
    board.with_panel(
        lines(
            "Labels that no member has",
            [(largest(undeclared, "dimension, label"), "{{dimension}}: {{label}}")],
            "Orders of the local day so far that name a label which the methodology does not have: the "
            "five largest of each dimension. Name them in methodology.toml, and raise its edition.",
            many=True,
        )
    )


def _regions(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Regions"))
    board.with_panel(
        lines(
            "Orders by region",
            [(largest(REGION_ORDERS, "region"), "{{region}}")],
            f"Placed orders by the region they go to. {OF_THE_LARGEST}",
            many=True,
            alerts=("EcindexDemandShift",),
        )
    )
    board.with_panel(
        lines(
            "Orders less expected orders by region",
            [
                (
                    largest(
                        f"{REGION_ORDERS} - on (market, region, window)"
                        f" market_region_window:ecindex_region_orders_expected:max{{{OF}}}",
                        "region",
                        REGION_ORDERS,
                    ),
                    "{{region}}",
                )
            ],
            f"What a region has more (or, below 0, less) than expected. {OF_THE_LARGEST}",
            many=True,
            alerts=("EcindexDemandShift",),
        )
    )
    board.with_panel(
        heat(
            "Demand index by region",
            (
                largest(
                    f"market_region_window:ecindex_region_demand_index:max{{{OF}}}",
                    "region",
                    REGION_ORDERS,
                    ROWS_MAX,
                ),
                "{{region}}",
            ),
            "At 100 a region is as expected. The 20 regions with the most orders.",
            thresholds(*INDEX_LEVELS),
            unit="short",
        )
    )
    by_region = f'{EVIDENCE}{{{OF_MARKET},dimension="region"}}'
    board.with_panel(
        heat(
            "Evidence of a shift by region",
            (largest(by_region, "member", count=ROWS_MAX), "{{member}}"),
            f"{EVIDENCE_MEANS} The 20 regions with the most.",
            thresholds(*EVIDENCE_LEVELS),
            unit="percentunit",
        )
    )


def _payments(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Payments"))
    for title, by, description in (
        ("Captured payments by method", "count", "Part of each method in the captured payments."),
        ("Captured amount by method", "amount", "Part of each method in the captured amount."),
        (
            "Method chosen by orders",
            "chosen",
            "Part of each method in the placed orders that chose one, whether paid or not.",
        ),
    ):
        share = f'market_method_window_by:ecindex_payment_share_ratio:max{{{OF},by="{by}"}}'
        board.with_panel(
            lines(
                title,
                [(largest(share, "method"), "{{method}}")],
                description,
                unit="percentunit",
                stacked=True,
                width=8,
                alerts=("EcindexPaymentMethodCollapsed",),
            )
        )
    board.with_panel(
        lines(
            "Captured payments",
            [(f"market_window:ecindex_market_payments:max{{{OF}}}", "payments")],
            "Captured payments of the market in each window.",
        )
    )
    failed = f"market_method_window:ecindex_payment_failure_ratio:max{{{OF}}}"
    board.with_panel(
        lines(
            "Failed payments by method",
            [(largest(failed, "method"), "{{method}}")],
            "Failed payments of a method, divided by its failed and captured payments.",
            unit="percentunit",
            alerts=("EcindexPaymentFailures",),
        )
    )
