"""Prints a rehearsal: rules side by side, then each alarm of the present rules with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.index.instants import in_zone
from streams.index.methodology import Methodology
from streams.index.panes import rfc3339
from streams.index.shown_sizes import duration, figure, ratio_words
from streams.rehearsal.command import Rehearsal, words
from streams.rehearsal.rehearse import Alarm, RehearsedMarket, RehearsedPage, alarms

_TO_THE_MINUTE = len("2026-11-24T09:54")


def print_rehearsal(console: Console, rehearsal: Rehearsal, methodology: Methodology) -> None:
    """Print the tables. The first rules are the present ones; alarms are listed for them alone."""
    for code, results in rehearsal.markets.items():
        zone = methodology.markets[code].time_zone
        _print_market(console, results, zone)
    for code in rehearsal.too_short:
        console.print(f"{code}: the history is too short to be judged", highlight=False)


def _print_market(console: Console, results: Sequence[RehearsedMarket], zone: str) -> None:
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
        for name in ("told", "what", "size", "orders", "after", "lasted", "clock"):
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
        ratio_words(interval.ratio, interval.lower, interval.upper),
        f"{figure(interval.observed)} of {figure(interval.expected)}",
        duration(page.paged_ms - page.started_ms),
        "goes on" if page.over_ms is None else duration(page.over_ms - page.started_ms),
        page.shift.clock,
    ]


def _name(page: RehearsedPage) -> str:
    shift = page.shift
    name = "all" if shift.dimension == "market" else f"{shift.dimension}:{shift.member}"
    return f"{name} {'up' if shift.direction > 0 else 'down'}"
