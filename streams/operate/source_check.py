"""``sources check``: what records of a source would become, without sending anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest

from streams.console.errors import OperationError
from streams.index.event_types import IncompleteOrder, IncompletePayment, Rejected
from streams.index.events import decode_orders, decode_payments
from streams.sources.outgoing import Outgoing
from streams.translate.compiled_source import (
    RECORD_BYTES_MAX,
    CompiledSource,
    IgnoredRecord,
)
from streams.translate.mapped_fields import RecordField, fields_of
from streams.translate.order_state import OrderState, advance
from streams.translate.refused_records import RefusedRecord, RefusedRecordError, form_of
from streams.translate.source_file import SourceFileError, parse_source
from streams.translate.whole_orders import Reported, WholeOrder, kept_by

_PATHS_MAX = 1_000
_MORE = "(more)"


class CheckedRecord(NamedTuple):
    """One record: the fields that were read, the events it would become, or why it becomes none."""

    number: int
    came_in: dict[str, list[str]]
    goes_out: list[dict[str, Any]]
    outcome: str
    """``translated``, ``ignored`` or ``refused``."""
    detail: str


@dataclass(slots=True)
class SourceCheck:
    """What was found. ``unmapped``: by path, in how many records a field is that nothing reads."""

    name: str
    read: int = 0
    records: list[CheckedRecord] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    uncounted_lines: int = 0
    added_units: int = 0
    waiting_orders: int = 0

    def as_dict(self) -> dict[str, Any]:
        """All of it, for machines."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return found | {"records": [each._asdict() for each in self.records]}


def check_source(path: Path, sample: Path | None, most: int) -> SourceCheck:
    """Check a source file, and translate the first ``most`` records of a sample.

    Without a sample the files that the source file names are read. Raises OperationError.
    """
    try:
        file = parse_source(path.read_text(encoding="utf-8"), path.stem)
        source = CompiledSource(file)
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(f"{path}: {error}") from error
    except SourceFileError as error:
        listed = "\n".join(f"  {each}" for each in str(error).splitlines())
        raise OperationError(f"{path} cannot be used:\n{listed}") from error
    found = SourceCheck(file.name)
    states: dict[str, OrderState] = {}
    samples = [path.parent / each for each in file.where.files] if sample is None else [sample]
    for number, record in enumerate(_records(samples), 1):
        if number > most:
            break
        found.read = number
        found.records.append(_check_record(source, states, number, record, found))
    found.waiting_orders = sum(state.waits > 0 for state in states.values())
    return found


def _records(paths: list[Path]) -> Iterator[bytes]:
    """Yield the lines of NDJSON files. A line that is too long comes as far as it is refused for."""
    for path in paths:
        try:
            with path.open("rb") as handle:
                while line := handle.readline(RECORD_BYTES_MAX + 2):
                    if len(line) > RECORD_BYTES_MAX + 1:
                        while rest := handle.readline(RECORD_BYTES_MAX):
                            if rest.endswith(b"\n"):
                                break
                    if line.strip():
                        yield line.rstrip(b"\r\n")
        except OSError as error:
            raise OperationError(f"{path}: {error}") from error


def _check_record(
    source: CompiledSource,
    states: dict[str, OrderState],
    number: int,
    record: bytes,
    found: SourceCheck,
) -> CheckedRecord:
    read = source.read(record)
    came_in: dict[str, list[str]] = {}
    for each in _fields(source, record, found, masked=isinstance(read, RefusedRecord)):
        came_in.setdefault(each.path, []).append(each.shown or "")
    if isinstance(read, IgnoredRecord):
        found.ignored[read.reason] += 1
        return CheckedRecord(number, came_in, [], "ignored", read.reason)
    if isinstance(read, RefusedRecord):
        return _refuse(number, came_in, read, found)
    digest = xxh3_64_intdigest(record)
    events: list[Outgoing] = []
    for reported in read:
        order_id = kept_by(reported)
        try:
            advanced = advance(source.name, states.get(order_id), reported, digest)
        except RefusedRecordError as refused:
            refusal = RefusedRecord(source.name, refused.path, refused.expected, refused.found)
            return _refuse(number, came_in, refusal, found)
        states[order_id] = advanced.state
        events += advanced.events
        found.added_units += advanced.added
        if isinstance(reported, WholeOrder):
            found.uncounted_lines += reported.uncounted
    goes_out = [_shown_event(event, found) for event in events]
    return CheckedRecord(number, came_in, goes_out, "translated", _nothing_new(read, states))


def _refuse(
    number: int, came_in: dict[str, list[str]], refused: RefusedRecord, found: SourceCheck
) -> CheckedRecord:
    found.refused[f"{refused.path}: expected {refused.expected}"] += 1
    return CheckedRecord(number, came_in, [], "refused", refused.detail)


def _nothing_new(read: list[Reported], states: dict[str, OrderState]) -> str:
    """Say why a record that was read may become no event."""
    for reported in read:
        if isinstance(reported, WholeOrder) and not reported.is_placed:
            return "not placed yet"
        if states[kept_by(reported)].waits:
            return "waits for its order"
    return "nothing new"


def _fields(
    source: CompiledSource, record: bytes, found: SourceCheck, *, masked: bool
) -> Iterator[RecordField]:
    """Yield the mapped fields of a record; count the others, each once a record."""
    try:
        decoded = json.loads(record, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return
    unmapped = set()
    for each in fields_of(decoded, source.fields, masked=masked):
        if each.shown is None:
            unmapped.add(each.path)
        else:
            yield each
    for path in sorted(unmapped):  # of fields as frequent as each other, the first are shown
        known = path in found.unmapped or len(found.unmapped) < _PATHS_MAX
        found.unmapped[path if known else _MORE] += 1


def _shown_event(event: Outgoing, found: SourceCheck) -> dict[str, Any]:
    """Return an event as it would be sent, the shopper masked, and what the index would say of it."""
    shown: dict[str, Any] = json.loads(event.value)
    found.events[shown["type"]] += 1
    if shown.get("shopper_id"):
        shown["shopper_id"] = form_of(shown["shopper_id"])
    decode = decode_orders if event.topic == "orders" else decode_payments
    (decoded,) = decode([event.value])
    if isinstance(decoded, Rejected):
        shown["the index refuses it"] = decoded.detail
        found.refused[f"event {shown['type']}: {decoded.reason}"] += 1
    elif isinstance(decoded, (IncompleteOrder, IncompletePayment)):
        lost = {reason: part.detail for reason, part in decoded.parts.items()}
        shown["not counted"] = lost
    return shown
