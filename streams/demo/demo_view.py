"""Screen of a demo: one line for each market, what was planted, and one market in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from streams.console.fitting import Column, FittedTable, TopOf
from streams.demo.demo_plan import Plan
from streams.index.currencies import major_units
from streams.index.values import Value
from streams.operate import show
from streams.operate.market_views import MarketView, ViewState
from streams.publish.incident_words import MarketNaming, naming_of

LINE_EVERY_MS = 5_000
"""How often a line is printed without a terminal: a log needs fewer updates than a screen."""


class Screen:
    """Screen of a demo, redrawn in a terminal; elsewhere a line for each market every LINE_EVERY_MS."""

    def __init__(self, console: Console, plan: Plan, namings: Mapping[str, MarketNaming]) -> None:
        self._console = console
        self._plan = plan
        self._namings = namings
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._next_line_ms = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, views: Sequence[MarketView], now_ms: int) -> None:
        """Show the views that were just read."""
        if self._live is not None:
            hint = "a higher terminal shows them, and the page"
            self._live.update(TopOf(self._whole(views, now_ms), hint), refresh=True)
        elif now_ms >= self._next_line_ms:
            self._next_line_ms = now_ms + LINE_EVERY_MS
            for view in views:
                self._console.print(self._line(view), markup=False, highlight=False, soft_wrap=True)

    def say(self, lines: Sequence[str]) -> None:
        """Print the lines above the screen."""
        for line in lines:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _whole(self, views: Sequence[MarketView], now_ms: int) -> RenderableType:
        planted = [Text(f"planted: {line}") for line in self._plan.announcement(now_ms)]
        focus = [view for view in views if view.market == self._plan.shift.market]
        return Group(self._overview(views), *planted, show.render(focus, self._namings))

    def _overview(self, views: Sequence[MarketView]) -> FittedTable:
        category = self._plan.shift.category
        heads = (  # pairs: a category may be called "sales"
            ("as of (UTC)", 1),
            ("orders/min", 0),
            ("sales/min", 2),
            ("payments/min", 3),
            ("digital", 4),
            (f"{category}/min", 0),
            ("mean of 5 min", 0),
        )
        rows = [self._cells(view) or [""] * len(heads) for view in views]
        columns = [
            Column("state", [view.state for view in views]),
            *(
                Column(head, [row[at] for row in rows], rank)
                for at, (head, rank) in enumerate(heads)
            ),
        ]
        styles = [None if view.state is ViewState.LIVE else "red" for view in views]
        return FittedTable("market", [view.market for view in views], columns, styles=styles)

    def _cells(self, view: MarketView) -> list[str]:
        if view.snapshot is None:
            return []
        values = {value.field: value for value in view.snapshot.values}
        naming = self._namings.get(view.market) or naming_of(view.market, None)
        currency = naming.currency or ""
        member = self._plan.shift.category
        return [
            view.snapshot.as_of[11:19],
            _number(values.get("orders:market:all:1m")),
            _money(values.get("sales:market:all:1m"), currency),
            _number(values.get("payments:market:all:1m")),
            _percent(values.get("digital_share:market:all:1m")),
            _number(values.get(f"orders:category:{member}:1m")),
            _number(values.get(f"orders:category:{member}:5m"), minutes=5),
        ]

    def _line(self, view: MarketView) -> str:
        if view.snapshot is None:
            return f"{view.market} {view.state}"
        as_of, orders, sales, payments, _digital, member, mean = self._cells(view)
        return (
            f"{view.market} {view.state} as of {as_of}Z: {orders} orders, {sales}, {payments} "
            f"payments in 1 min; {self._plan.shift.category} {member} in the last minute, "
            f"{mean} a minute over five"
        )


def shows_demand(view: MarketView) -> bool:
    """True if a market is live with both of its topics.

    Its first snapshot may have payments alone, if the partitions of payments were read first. A demo
    that called such a market live began with a screen of dashes.
    """
    if view.state is not ViewState.LIVE or view.snapshot is None:
        return False
    values = {value.field: value.value for value in view.snapshot.values}
    shown = (values.get(f"{index}:market:all:1m") for index in ("orders", "payments"))
    return all(value is not None for value in shown)


def _number(value: Value | None, minutes: int = 1) -> str:
    if value is None or value.value is None:
        return "-" if value is None else value.status
    return f"{value.value / minutes:,.0f}"


def _money(value: Value | None, currency: str) -> str:
    if value is None or not isinstance(value.value, int):
        return _number(value)
    return f"{major_units(value.value, currency).partition('.')[0]} {currency}"


def _percent(value: Value | None) -> str:
    if value is None or value.value is None:
        return _number(value)
    return f"{value.value:.0%}"
