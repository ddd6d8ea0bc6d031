"""A source file, compiled: bytes of a record -> what it says of orders, or why it says nothing.

The record is decoded once, and only where paths of the file lead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from streams.translate.conditions import Holds, compile_condition
from streams.translate.cut_records import Cut, compile_cut
from streams.translate.functions_of_values import FUNCTIONS
from streams.translate.mapping import Compiler, Evaluate, FieldKind, Place, Scope
from streams.translate.record_shape import RecordShape, ShapeNode
from streams.translate.refused_records import RefusedRecord, RefusedRecordError
from streams.translate.sections import (
    Section,
    compile_capture,
    compile_order,
    compile_payment,
    compile_refund,
)
from streams.translate.source_file import (
    CaptureTable,
    OrderTable,
    PaymentTable,
    RecordTable,
    RefundTable,
    SourceFile,
    SourceFileError,
    parse_source,
)
from streams.translate.whole_orders import Reported

RECORD_BYTES_MAX = 1024 * 1024
"""Longest record of a source. Brokers take no longer one unless they are told to."""
CUT_BYTES_MAX = 1_000_000
"""Longest record that is written to a source's topic: beside it, its key and head have room."""
_SectionTable = TypeVar("_SectionTable", OrderTable, RefundTable, CaptureTable, PaymentTable)
_BOM = b"\xef\xbb\xbf"
_encode = msgspec.json.Encoder().encode
_INVALID = re.compile(r"Expected `(.*?)`, got `(.*?)`(?: - at `(.*?)`)?")


class IgnoredRecord(NamedTuple):
    """A record that is left out on purpose: ``reason`` is ``type``, ``condition`` or ``test``."""

    reason: str


class CompiledSource:
    """Reads the records of one source."""

    def __init__(self, file: SourceFile) -> None:
        """Compile a source file. Raises SourceFileError with everything that is wrong."""
        self.name = file.name
        shape = RecordShape(file.aliases)
        self.fields: ShapeNode = shape.root
        money = msgspec.to_builtins(file.money)
        compiler = Compiler(shape, FUNCTIONS, file.tables, money, msgspec.to_builtins(file.time))
        self._left_out = _compile_left_out(compiler, file.record)
        self._payments = [
            _compiled(compiler, table, compile_payment, f"payment[{number}]")
            for number, table in enumerate(file.payment)
        ]
        self._sections: list[tuple[Holds | None, Section]] = []
        if file.refund is not None:
            self._sections.append(_compiled(compiler, file.refund, compile_refund, "refund"))
        if file.capture is not None:
            self._sections.append(_compiled(compiler, file.capture, compile_capture, "capture"))
        if file.order is not None:
            self._sections.append(_compiled(compiler, file.order, compile_order, "order"))
        if compiler.mistakes:
            raise SourceFileError(compiler.mistakes)
        self._decode = shape.decoder()
        self._cut: Cut = compile_cut(shape.root)

    def read(self, record: bytes) -> list[Reported] | IgnoredRecord | RefusedRecord:
        """Return what a record says, why it is left out, or why it was refused.

        Of payments it may say several things, of an order one.
        """
        if len(record) > RECORD_BYTES_MAX:
            expected = f"at most {RECORD_BYTES_MAX} bytes"
            return RefusedRecord(self.name, "$", expected, f"{len(record)} bytes")
        try:
            root = self._decode(record.removeprefix(_BOM))
        except msgspec.DecodeError as error:
            return self._undecoded(error)
        scope = Scope(root)
        try:
            for reason, holds in self._left_out:
                if holds(root, scope):
                    return IgnoredRecord(reason)
            reported = self._reported(root, scope)
        except RefusedRecordError as refused:
            path = refused.path if refused.path.startswith("$") else f"$.{refused.path}"
            return RefusedRecord(self.name, path, refused.expected, refused.found)
        if reported:
            return reported
        return RefusedRecord(self.name, "$", "a record that a `when` of the file takes", "another")

    def _reported(self, root: Any, scope: Scope) -> list[Reported]:
        """Return what each section of payments says that takes the record, else what one other does."""
        reported: list[Reported] = [
            section(root, scope)
            for when, section in self._payments
            if when is None or when(root, scope)
        ]
        if reported:
            return reported
        for when, section in self._sections:
            if when is None or when(root, scope):
                return [section(root, scope)]
        return []

    def cut(self, record: bytes) -> bytes | RefusedRecord:
        """Return as much of a record as is mapped, or why it cannot be decoded.

        To ``read`` both are the same.
        """
        try:
            cut = _encode(self._cut(self._decode(record.removeprefix(_BOM))))
        except msgspec.DecodeError as error:
            return self._undecoded(error)
        if len(cut) > CUT_BYTES_MAX:
            expected = f"at most {CUT_BYTES_MAX} bytes that are mapped"
            return RefusedRecord(self.name, "$", expected, f"{len(cut)} bytes")
        return cut

    def _undecoded(self, error: msgspec.DecodeError) -> RefusedRecord:
        invalid = _INVALID.fullmatch(str(error))
        if invalid is not None:
            return RefusedRecord(self.name, invalid[3] or "$", invalid[1], invalid[2])
        return RefusedRecord(self.name, "$", "JSON", f"none: {error}"[:100])


def _compiled(
    compiler: Compiler,
    table: _SectionTable,
    compile_section: Callable[[Compiler, _SectionTable, Place], Section],
    key: str,
) -> tuple[Holds | None, Section]:
    place = Place(compiler.shape.root, key)
    when = None
    if table.when is not None:
        when = compile_condition(compiler, table.when, place.at(".when"))
    return when, compile_section(compiler, table, place)


def compile_source(text: str) -> CompiledSource:
    """Read and compile the text of a source file. Raises SourceFileError."""
    return CompiledSource(parse_source(text))


def _compile_left_out(compiler: Compiler, table: RecordTable) -> list[tuple[str, Holds]]:
    root = compiler.shape.root
    found: list[tuple[str, Holds]] = []
    if table.type is not None:
        kind = compiler.value(table.type, FieldKind.TEXT, Place(root, "record.type"))
        found.append(("type", _is_among(kind, frozenset(table.ignore_types))))
    elif table.ignore_types:
        compiler.wrong("record.type", "a value, since `ignore_types` is given")
    for reason, key in (("condition", "ignore"), ("test", "test")):
        spec = getattr(table, key)
        if spec is not None:
            place = Place(root, f"record.{key}")
            found.append((reason, compile_condition(compiler, spec, place)))
    return found


def _is_among(kind: Evaluate, types: frozenset[str]) -> Callable[[Any, Scope], bool]:
    return lambda here, scope: kind(here, scope) in types
