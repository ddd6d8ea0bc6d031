"""What ``sources check`` prints: records and events side by side, then what was left out and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from streams.operate.source_check import CheckedRecord, SourceCheck

_VALUES_SHOWN, _UNMAPPED_SHOWN = 4, 30


def check_lines(found: SourceCheck) -> Iterator[RenderableType]:
    """Yield what is printed for a check."""
    for record in found.records:
        yield _side_by_side(record)
    if not found.read:
        yield Text(f"{found.name}: nothing is wrong with the file; no records to try it on")
        return
    yield Text(f"{found.name}: {found.read} records")
    yield from _listed("would go out", found.events)
    yield from _listed("ignored", found.ignored)
    yield from _listed("refused", found.refused)
    if found.waiting_orders:
        yield Text(f"  orders for which refunds or captures wait: {found.waiting_orders}")
    if found.uncounted_lines:
        yield Text(
            f"  lines that cannot be counted (no units, a price below 0): {found.uncounted_lines}"
        )
    if found.added_units:
        yield Text(f"  units added to orders later, which no event states: {found.added_units}")
    if found.unmapped:
        yield Text("  fields that nothing reads, by the records that have them")
        for path, count in found.unmapped.most_common(_UNMAPPED_SHOWN):
            yield Text(f"    {count:>6}  {path}")
        if len(found.unmapped) > _UNMAPPED_SHOWN:
            yield Text(f"    and {len(found.unmapped) - _UNMAPPED_SHOWN} more")


def _listed(name: str, counts: Any) -> Iterator[Text]:
    for what, count in sorted(counts.items()):
        yield Text(f"  {name}: {what}: {count}")


def _side_by_side(record: CheckedRecord) -> Table:
    table = Table(title=f"record {record.number}", title_justify="left", expand=True)
    table.add_column("came in", ratio=1, overflow="fold")
    table.add_column("would go out", ratio=1, overflow="fold")
    came_in = "\n".join(_field_line(path, values) for path, values in record.came_in.items())
    goes_out = "\n\n".join("\n".join(_event_lines(each)) for each in record.goes_out)
    if not goes_out:
        goes_out = f"{record.outcome}: {record.detail}"
    table.add_row(Text(came_in), Text(goes_out))
    return table


def _field_line(path: str, values: list[str]) -> str:
    shown = ", ".join(values[:_VALUES_SHOWN])
    more = f" and {len(values) - _VALUES_SHOWN} more" if len(values) > _VALUES_SHOWN else ""
    return f"{path} = {shown}{more}"


def _event_lines(event: dict[str, Any]) -> Iterator[str]:
    yield str(event["type"])
    for name, value in event.items():
        if name == "lines":
            for line in value:
                named = ", ".join(f"{key} {line[key]}" for key in ("sku", "category") if line[key])
                yield f"  {line['quantity']} x {line['unit_price_minor']} {named}".rstrip()
        elif name != "type":
            yield f"  {name} = {value}"
