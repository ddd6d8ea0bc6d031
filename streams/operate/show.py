"""``ecindex show``: the current values as a downstream service sees them. It reads Redis only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from streams import clock
from streams.console.fitting import Column, FittedTable, TopOf, WholeParts
from streams.index.currencies import major_units
from streams.index.indices import SOURCES
from streams.index.input_reports import InputNote
from streams.index.instants import in_zone
from streams.index.panes import MINUTE_MS
from streams.index.shown_sizes import duration
from streams.index.values import Snapshot, Value
from streams.operate.market_views import (
    MarketView,
    ViewState,
    as_json,
    read_input_notes,
    read_markets,
    refuse_unknown,
)
from streams.publish.incident_records import PublishedIncident
from streams.publish.incident_words import (
    MarketNaming,
    clock_time,
    naming_of,
    say_answers,
    say_incident,
    say_suspicion,
    series_name,
    timeline_of,
    weight_of,
)
from streams.publish.member_records import MemberNames
from streams.publish.other_words import say_others
from streams.publish.ranking import ALL, rank_members
from streams.publish.redis_clients import REDIS_ERRORS, in_words
from streams.publish.restless_records import RESTLESS_WORDS, restless_series
from streams.publish.sent_records import PublishedSent
from streams.reader import BEHIND_AFTER_MS, SILENT_AFTER_MS

_WINDOWS = ("1m", "5m", "1h")
_ROWS_MAX = 25
_INCIDENTS_MAX = 5
_RESTLESS_MAX = 6
_LABELS_MAX = 5


def render(
    views: Sequence[MarketView],
    namings: Mapping[str, MarketNaming],
    notes: Sequence[InputNote] = (),
) -> RenderableType:
    """Render the markets one below the other, and what does not count of the inputs.

    ``namings``: of each market of the methodology. What is wrong is said as on the page, in its words.
    """
    lines = [Text(note.text, style="bold red" if note.severe else "yellow") for note in notes]
    if not views:
        return Group(Text("no market was published within the last day", style="bold red"), *lines)
    return Group(*(_market(view, _naming(view.market, namings)) for view in views), *lines)


def watch(
    read: Callable[[], tuple[Sequence[MarketView], Sequence[InputNote]]],
    namings: Mapping[str, MarketNaming],
    console: Console,
    stop: threading.Event,
    interval_s: float = 1.0,
) -> None:
    """Show what ``read`` returns each ``interval_s`` until ``stop`` is set.

    The caller catches KeyboardInterrupt. While Redis is away, the error is shown in red and Redis is
    read again.
    """
    with Live(console=console, auto_refresh=False) as live:
        while not stop.is_set():
            try:
                views, notes = read()
                shown = render(views, namings, notes)
            except REDIS_ERRORS as error:
                shown = Text(f"Redis does not answer: {in_words(error)}", style="bold red")
            hint = "a higher terminal shows them, or one MARKET alone"
            live.update(TopOf(shown, hint), refresh=True)
            stop.wait(interval_s)


class _Values:
    """Values of a snapshot by index, dimension, member and window."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._by_field = {value.field: value for value in snapshot.values}

    def get(self, index: str, dimension: str, member: str, window: str) -> Value | None:
        return self._by_field.get(f"{index}:{dimension}:{member}:{window}")

    def members(self, dimension: str, window: str) -> list[str]:
        """Members of a dimension, those with the most orders or payments in ``window`` first."""
        own = [
            value
            for value in self._by_field.values()
            if value.dimension == dimension and value.member != ALL
        ]
        ranks = rank_members(value for value in own if value.window == window)
        members = {value.member for value in own}
        return sorted(members, key=lambda each: (ranks.get((dimension, each), len(members)), each))

    def windows(self) -> list[str]:
        """Windows to show: those that the log covers. Columns of dashes would hide the numbers."""
        found = [(window, self.get("orders", "market", ALL, window)) for window in _WINDOWS]
        covered = [window for window, value in found if value is not None and value.status == "ok"]
        return covered or [_WINDOWS[0]]


def _naming(market: str, namings: Mapping[str, MarketNaming]) -> MarketNaming:
    return namings.get(market) or naming_of(market, None)


def _market(view: MarketView, naming: MarketNaming) -> RenderableType:
    if view.snapshot is None:
        why = view.failure or "nothing is published"
        text = Text(f"{view.market}: absent, {why}", style="bold red")
        return Panel(text, border_style="red")
    values = _Values(view.snapshot)
    currency = naming.currency or ""
    windows = values.windows()
    longest = windows[-1]
    parts: list[RenderableType] = [
        _headline(view, view.snapshot, values, naming),
        *_wrong(view, naming),
        Text(),
        _categories(values, currency, windows, view.names),
        Text(),
        _payments(values, longest, view.names),
        *_others(view),
        *_not_ok(view.snapshot),
        *(Text(f"{name}: none seen yet") for name in SOURCES if name not in view.snapshot.sources),
    ]
    pages = any(each.over is None and each.silenced_by is None for each in view.incidents)
    border = "red" if view.state is ViewState.STALE else "magenta" if pages else "green"
    return Panel(Group(*parts), title=view.market, title_align="left", border_style=border)


def _headline(
    view: MarketView, snapshot: Snapshot, values: _Values, naming: MarketNaming
) -> WholeParts:
    currency = naming.currency or ""
    orders = _cell(values.get("orders", "market", ALL, "1m"))
    sales = _cell(values.get("sales", "market", ALL, "1m"), currency)
    parts = [
        Text.assemble((orders, "bold"), " orders/min"),
        Text.assemble((sales, "bold"), f" {currency}/min"),
        Text(f"as of {_local(snapshot.as_of, naming)}, {_age(view.as_of_age_ms)} ago"),
        Text(snapshot.phase),
    ]
    if view.state is ViewState.STALE:
        for part in parts:
            part.stylize("red")
        parts.append(Text(f"stale: {_why_stale(view)}", "bold red"))
    return WholeParts(parts)


def _local(instant: str, naming: MarketNaming) -> str:
    return in_zone(instant, naming.time_zone, "seconds")


def _wrong(view: MarketView, naming: MarketNaming) -> list[Text]:
    """Return what is wrong now, as the page says it, and what was last."""
    open_ones = [each for each in view.incidents if each.over is None]
    going = sorted(open_ones, key=weight_of, reverse=True)
    lines = []
    for incident in going[:_INCIDENTS_MAX]:
        words = say_incident(incident, naming, view.suspicions)
        lines.append(Text.assemble((f"{words.headline}. ", "bold magenta"), words.now))
        rest = [words.size, words.missed, words.affected, *say_answers(incident, naming)]
        lines.append(Text(" ".join(filter(None, rest))))
        lines.append(Text(f"{incident.id}, {words.evidence}", "dim"))
        lines.append(Text(_timeline(incident, naming, view.sent.get(incident.id)), "dim"))
    if len(going) > _INCIDENTS_MAX:
        lines.append(Text(f"{len(going) - _INCIDENTS_MAX} more incidents", "bold magenta"))
    lines += [Text(say_suspicion(each, naming), "yellow") for each in view.suspicions]
    for incident in [each for each in view.incidents if each.over is not None][:1]:
        words = say_incident(incident, naming)
        lines.append(Text(f"{words.headline}. {words.now}", "dim"))
    return lines + _restless(view, naming)


def _restless(view: MarketView, naming: MarketNaming) -> list[Text]:
    series = sorted(restless_series(view.restless))
    if not series:
        return []
    names = ", ".join(series_name(*each, naming.name) for each in series[:_RESTLESS_MAX])
    more = len(series) - _RESTLESS_MAX
    return [Text(f"{names}{f' and {more} more' if more > 0 else ''}: {RESTLESS_WORDS}", "dim")]


def _others(view: MarketView) -> list[Text]:
    """Return what `other` of the newest local day is made of, one line a dimension."""
    return [
        Text(f"other: {say_others(each, of.day, _LABELS_MAX).line}", "dim")
        for of in view.others[:1]
        for each in of.dimensions
        if each.says_something
    ]


def _timeline(incident: PublishedIncident, naming: MarketNaming, sent: PublishedSent | None) -> str:
    today = incident.size.until if incident.over is None else None
    known = [
        f"{what} {clock_time(at, naming.time_zone, today)}"
        for what, at in timeline_of(incident, sent)
    ]
    return ", ".join([*known, *([] if sent is not None else ["sent: not known"])])


def _why_stale(view: MarketView) -> str:
    """Which of the two ages is too high; the publisher's first, since nothing moves without it."""
    if view.published_age_ms is not None and view.published_age_ms > SILENT_AFTER_MS:
        return f"published {_age(view.published_age_ms)} ago; its worker is gone or cut off"
    old = [
        f"{source} end {_age(age_ms)} ago"
        for source, age_ms in view.source_ages_ms.items()
        if age_ms > BEHIND_AFTER_MS
    ]
    ends = ", ".join(old) or f"values end {_age(view.as_of_age_ms)} ago"
    return f"{ends}; processing is behind, or this input stands still"


def _categories(
    values: _Values, currency: str, windows: Sequence[str], names: MemberNames
) -> FittedTable:
    window = windows[-1]
    members = values.members("category", window)
    shown = members[:_ROWS_MAX]

    def column(head: str, index: str, each: str, rank: int, unit: str | None = None) -> Column:
        found = (values.get(index, "category", member, each) for member in shown)
        return Column(f"{head} {each}", [_cell(value, unit) for value in found], rank)

    # Where there is no room, the shorter windows go first, and what the longest tells goes last.
    money = f"sales {currency}"
    columns = [
        *(column("orders", "orders", each, 0 if each == window else 5) for each in windows),
        *(column(money, "sales", each, 2 if each == window else 6, currency) for each in windows),
        column("% of orders", "category_share_by_orders", window, 3),
        column("% of sales", "category_share_by_sales", window, 4),
    ]
    more = f"{len(members) - _ROWS_MAX} more" if len(members) > _ROWS_MAX else ""
    heads = [names.get(("category", each), each) for each in shown]
    return FittedTable("category", heads, columns, more=more)


def _payments(values: _Values, window: str, names: MemberNames) -> FittedTable:
    heads = {
        "% chosen": ("payment_chosen_share", 1),
        "% captured": ("payment_share_by_count", 0),
        "% of amount": ("payment_share_by_amount", 2),
        "% failed": ("payment_failure_ratio", 0),
    }
    members = values.members("payment_method", window)
    columns = [
        Column(
            f"{head} {window}",
            [_cell(values.get(index, "payment_method", member, window)) for member in members],
            rank,
        )
        for head, (index, rank) in heads.items()
    ]
    shown = [names.get(("payment_method", each), each) for each in members]
    return FittedTable("payment method", shown, columns)


def _not_ok(snapshot: Snapshot) -> list[Text]:
    """One line for each window in which the market has no values yet, with how far it is covered."""
    lines: dict[tuple[str, str], Value] = {}
    for value in snapshot.values:
        if value.dimension == "market" and value.status not in ("ok", "no_data"):
            lines.setdefault((value.window, value.status), value)
    return [
        Text(f"{window}: {status}, {value.covered:.0%} covered by the log", style="yellow")
        for (window, status), value in lines.items()
    ]


def _cell(value: Value | None, currency: str | None = None) -> str:
    if value is None:
        return "-"
    if value.value is None:
        return value.status if value.status != "no_data" else "-"
    if isinstance(value.value, float):
        return f"{value.value * 100:.1f}"
    if currency is not None:
        return major_units(value.value, currency)
    return f"{value.value:,}"


def _age(age_ms: int | None) -> str:
    """Age in words, to a tenth of a second where it is young; below 0 where it lies ahead."""
    length_ms = abs(age_ms or 0)
    if length_ms < 2 * MINUTE_MS:
        return f"{(age_ms or 0) / 1000:.1f} s"
    return f"{'-' if (age_ms or 0) < 0 else ''}{duration(length_ms)}"


def show(
    client: Any,
    console: Console,
    namings: Mapping[str, MarketNaming],
    markets: Iterable[str] | None = None,
    *,
    prefix: str,
    as_json_line: bool = False,
    now_ms: Callable[[], int] = clock.now_ms,
) -> bool:
    """Print the markets once; True when each of them is live (the command then exits 0).

    False too when hardly anything of an input counts: the values are then not those of the shop. Raises
    OperationError for a market that there is not.
    """
    views = read_markets(client, now_ms(), markets, prefix, namings)
    refuse_unknown(client, prefix, views, namings)
    notes = read_input_notes(client, prefix)
    if as_json_line:
        console.file.write(f"{as_json(views)}\n")  # not print: it wraps and substitutes
    else:
        console.print(render(views, namings, notes))
    severe = any(note.severe for note in notes)
    return bool(views) and not severe and all(view.state is ViewState.LIVE for view in views)
