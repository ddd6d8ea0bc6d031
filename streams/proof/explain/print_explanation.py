"""Prints an explanation, for people."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streams.console.fitting import Column, FittedTable
from streams.index.demand import SCALE
from streams.index.instants import in_zone
from streams.index.values import Value, decimal
from streams.proof.explain.explanation_types import Explanation, Number


def show(explanation: Explanation, console: Console) -> None:
    """Print an explanation, one paragraph for each step."""
    console.print(Group(*_steps(explanation)), soft_wrap=True)


def _steps(it: Explanation) -> Iterable[RenderableType]:
    value = it.value
    yield _title(f"{it.key}  as of {value.as_of}")
    by = f", definitions {it.definitions}" if it.definitions else ""
    yield Text(f"  {_number(value.value)} {value.unit}, {_state(value)}{by}; {it.where}")
    yield _title("Formula")
    yield Text(f"  {it.formula}\n  {it.methodology}")
    yield _title("Counted")
    counted = it.counted
    yield Text(
        f"  {counted.what}: {_number(counted.observed)}, n {counted.n}\n"
        f"  {in_zone(counted.start, it.time_zone)} .. {in_zone(counted.end, it.time_zone)}: "
        f"{counted.slices}; covered {counted.covered:g}, "
        f"from {in_zone(counted.covered_from, it.time_zone)}"
    )
    if it.closing is not None:
        yield Text(
            f"  closed as final: {_number(it.closing['observed'])}, "
            f"revision {it.closing['revision']}; {it.closing['where']}"
        )
    if it.made_of:
        yield _made_of(it)
    if it.hours:
        yield _hours(it)
    yield from _expectation(it)
    yield _title("Revisions")
    yield Text("\n".join(_revisions(it)) or "  none at this as_of")
    yield _title("The number again")
    yield Text(
        "\n".join(f"  {term.name}: {_number(term.value)}; {term.where}" for term in it.terms)
    )
    if it.calculation:
        yield Text(f"  {it.calculation}")
    yield from (Text(f"  note: {note}", style="yellow") for note in it.notes)
    yield from (Text(line, style="yellow") for line in it.unreadable.lines())
    yield _checks(it)
    verdict = "equal to the last digit" if it.equal else "NOT equal"
    yield Text(
        f"published {_number(it.published)}, recomputed {_number(it.recomputed)}: {verdict}",
        style="bold green" if it.equal else "bold red",
    )


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _state(value: Value) -> str:
    revised = f", revision {value.revision}" if value.revision else ""
    return f"status {value.status}, {value.phase}{revised}, edition {value.edition}"


def _made_of(it: Explanation) -> Text:
    """Name what was counted where; inputs are read up to an offset, merged slots are final."""
    lines = []
    for each in it.made_of:
        what = f"{each.source}, {each.slots}"
        if each.through is not None:
            slots = "day" if it.value.day is not None else "panes"
            what = f"{each.source} up to offset {each.through}, {each.slots} {slots}"
        lines.append(f"  made of {each.observed}: {what}; {each.where}")
    return Text("\n".join(lines))


def _hours(it: Explanation) -> RenderableType:
    cells: dict[str, tuple[int, list[str]]] = {
        "within": (3, [f"{hour.seconds / 60:g} min" for hour in it.hours]),
        "closed": (0, [_number(hour.closed_observed) for hour in it.hours]),
        "level": (4, [_given(hour.level, ".6g") for hour in it.hours]),
        "season": (4, [_given(hour.season, ".3f") for hour in it.hours]),
        "factor": (2, [_given(hour.factor, "g") for hour in it.hours]),
        "expected": (
            0,
            ["" if hour.expected is None else decimal(hour.expected / SCALE) for hour in it.hours],
        ),
        "vintage": (5, [hour.vintage or "" for hour in it.hours]),
        "closing": (1, [hour.where or "" for hour in it.hours]),
    }
    columns = [
        Column(name, of_name, rank) for name, (rank, of_name) in cells.items() if any(of_name)
    ]
    hours = [in_zone(hour.hour, it.time_zone, "minutes") for hour in it.hours]
    return Padding(FittedTable(f"hour ({it.time_zone})", hours, columns), (0, 0, 0, 2))


def _given(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _expectation(it: Explanation) -> Iterable[RenderableType]:
    yield _title("Expected")
    found, value = it.expectation, it.value
    if found is None:
        what = "nothing" if value.expected is None else decimal(value.expected)
        yield Text(f"  {what} is published beside it")
        return
    yield Text(
        f"  of {found.of}: level x season x factor, summed over the hours: "
        f"{decimal(found.expected)}\n"
        f"  vintage {found.vintage}, learnt from {found.learnt_days} days; {found.vintage_where}\n"
        f"  band with relative variance {found.noise:g}: "
        f"{decimal(found.lower)} .. {decimal(found.upper)}"
    )
    if value.expected:
        ratio = (value.observed or 0) / value.expected
        yield Text(f"  counted / expected: {ratio:.4f}")


def _revisions(it: Explanation) -> Iterable[str]:
    for each in it.revisions:
        yield (
            f"  {each['revision']}: {_number(each['previous'])} -> {_number(each['value'])}, "
            f"cause {each['cause']}; {each['where']}"
        )


def _checks(it: Explanation) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=True)
    for name in ("  ", "published", "recomputed", "", ""):
        table.add_column(name, overflow="fold")
    for check in it.checks:
        same = {True: "equal", False: "NOT equal", None: "cannot be told"}[check.equal]
        table.add_row(
            f"  {check.what}", _text(check.published), _text(check.recomputed), same, check.why
        )
    return table


def _text(value: Number | str | None) -> str:
    return value if isinstance(value, str) else _number(value)


def _number(value: Number | None) -> str:
    return "-" if value is None else decimal(value)
