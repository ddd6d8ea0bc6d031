"""Prints a rehearsal: rules side by side, then each alarm of the present rules with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.index.instants import in_zone
from streams.index.methodology import Methodology
from streams.index.panes import rfc3339
from streams.rehearsal.command import Rehearsal, words
from streams.rehearsal.rehearse import Alarm, MarketPages, RehearsedPage, alarms

_TO_THE_MINUTE = len("2026-11-24T09:54")
_SECOND_MS = 1_000


def print_rehearsal(console: Console, rehearsal: Rehearsal, methodology: Methodology) -> None:
    """Print the tables. The first rules are the present ones; alarms are listed for them alone."""
    for code, results in rehearsal.markets.items():
        zone = methodology.markets[code].time_zone
        _print_market(console, results, zone)
    for code in rehearsal.too_short:
        console.print(f"{code}: the history is too short to be judged", highlight=False)


def _print_market(console: Console, results: Sequence[MarketPages], zone: str) -> None:
    present = results[0]
    since, until = (in_zone(rfc3339(at), zone) for at in (present.from_ms, present.until_ms))
    console.print(
        Text(f"{present.market}: {present.days:.0f} days, {since} .. {until}", style="bold")
    )
    sides = Table(box=None, pad_edge=False)
    for name in ("budget", "pages", "alarms", "days between alarms"):
        sides.add_column(name, justify="left" if name == "budget" else "right")
    for one in results:
        together = list(alarms(one.pages))
        between = f"{one.days / len(together):.1f}" if together else f"over {one.days:.0f}"
        sides.add_row(words(one.rules), str(len(one.pages)), str(len(together)), between)
    console.print(sides)
    together = list(alarms(present.pages))
    if together:
        listed = Table(box=None, pad_edge=False)
        for name in ("told", "what", "times expected", "orders", "after", "lasted", "clock"):
            listed.add_column(name, overflow="fold", no_wrap=name == "told")
        for alarm in together:
            listed.add_row(*_cells(alarm, zone))
        console.print(listed)
    console.print()


def _cells(alarm: Alarm, zone: str) -> list[str]:
    page = alarm.first
    interval = page.shift.interval
    return [
        in_zone(rfc3339(page.paged_ms), zone)[:_TO_THE_MINUTE].replace("T", " "),
        f"{_name(page)} +{len(alarm.others)}" if alarm.others else _name(page),
        f"{interval.ratio:.2g} ({interval.lower:.2g}-{interval.upper:.2g})",
        f"{interval.observed:,.0f} of {interval.expected:,.0f}",
        _lasting(page.paged_ms - page.started_ms),
        "goes on" if page.over_ms is None else _lasting(page.over_ms - page.started_ms),
        page.shift.clock,
    ]


def _name(page: RehearsedPage) -> str:
    shift = page.shift
    name = "all" if shift.dimension == "market" else f"{shift.dimension}:{shift.member}"
    return f"{name} {'up' if shift.direction > 0 else 'down'}"


def _lasting(span_ms: int) -> str:
    minutes = span_ms / 60 / _SECOND_MS
    if minutes < 1:
        return f"{span_ms / _SECOND_MS:.0f} s"
    if minutes < 120:  # noqa: PLR2004 - of minutes, until hours read better
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} d"  # noqa: PLR2004
