"""Format numbers: every stored record has one; one higher than is known is refused, never guessed at.

A worker of an older version that skipped what it does not understand would publish wrong numbers. One
that ends says so, and the newer version goes on from the same records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

FORMAT = 6
"""Format of the records that workers keep for themselves: partials, marks, checkpoints, tables.

Raise it when a record changes in a way that the version before would misread.
"""
OLDEST = 6
"""Oldest format that is read. Before it merged slots kept no labels, and members had no names."""

RAISE_EDITION = (
    "raise `edition` in methodology.toml, run `ecindex topics create` and restart the workers; the new "
    "edition folds what the logs hold now"
)

NEWER = "a newer version of ecindex wrote it"
"""Words that the refusal of a newer format has, and no other."""

T = TypeVar("T", bound=msgspec.Struct)
Read = TypeVar("Read")
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot decode. It documents the first alone. A text that is no
UTF-8, or objects nested a thousand deep, in one record of the history ended every worker."""


class FormatError(msgspec.DecodeError):
    """A newer version of ecindex wrote the record. The operator must run that version."""


class OlderFormatError(FormatError):
    """A version of ecindex from before ``OLDEST`` wrote the record. The operator must start anew."""


class _Numbered(msgspec.Struct):
    """The one field that every format has."""

    v: int = 0


def numbered_encoder() -> Callable[[msgspec.Struct], bytes]:
    """Encoder to msgpack that puts the present format into the record's field ``v``."""
    encode = msgspec.msgpack.Encoder().encode

    def encode_numbered(record: msgspec.Struct) -> bytes:
        msgspec.structs.force_setattr(record, "v", FORMAT)
        return encode(record)

    return encode_numbered


def numbered_decoder(kind: type[T], what: str) -> Callable[[bytes], T]:
    """Decoder of msgpack that refuses formats it does not read; ``what`` names the record.

    In a struct that is an array the place of ``v`` must never change. Raises FormatError, and
    msgspec.DecodeError for what is no such record.
    """
    decode = msgspec.msgpack.Decoder(kind).decode
    place = kind.__struct_fields__.index("v") if kind.__struct_config__.array_like else None

    def decode_numbered(encoded: bytes) -> T:
        try:
            record = decode(encoded)
        except _FAILURES as error:
            found = _number_of(encoded, place)
            check_format(found, what, FORMAT)
            if found:
                _check_age(found, what)
            raise _as_one_kind(error) from error
        found = record.v  # type: ignore[attr-defined]
        if not OLDEST <= found <= FORMAT:
            check_format(found, what, FORMAT)
            _check_age(found, what)
        return record

    return decode_numbered


def json_decoder(kind: type[T], what: str, known: int) -> Callable[[bytes | str], T]:
    """Decoder of JSON that refuses a ``v`` above ``known``; ``what`` names the record.

    Raises FormatError, and msgspec.DecodeError for what is no such record.
    """
    decode = json_reader(kind)
    numbered = json_reader(_Numbered)

    def decode_checked(encoded: bytes | str) -> T:
        try:
            record = decode(encoded)
        except msgspec.ValidationError:
            check_format(numbered(encoded).v, what, known)
            raise
        check_format(record.v, what, known)  # type: ignore[attr-defined]
        return record

    return decode_checked


def msgpack_reader(kind: type[Read]) -> Callable[[bytes], Read]:
    """Decoder of what is encoded inside a record. Raises as ``json_reader`` does."""
    decode = msgspec.msgpack.Decoder(kind).decode

    def decode_msgpack(encoded: bytes) -> Read:
        try:
            return decode(encoded)
        except (UnicodeDecodeError, RecursionError) as error:
            raise _as_one_kind(error) from error

    return decode_msgpack


def json_reader(
    kind: type[Read], *, fractions: Callable[[str], Any] | None = None
) -> Callable[[bytes | str], Read]:
    """Decoder of JSON of any kind. Raises msgspec.DecodeError, and nothing else, for what is none.

    ``fractions``: makes something else than a float of the text of a number whose field may be anything.
    Only the decoders of events use msgspec's own besides (tests/contract/test_decoders.py).
    """
    decode = msgspec.json.Decoder(kind, float_hook=fractions).decode

    def decode_json(encoded: bytes | str) -> Read:
        try:
            return decode(encoded)
        except (UnicodeDecodeError, RecursionError) as error:
            raise _as_one_kind(error) from error

    return decode_json


def _as_one_kind(error: Exception) -> msgspec.DecodeError:
    if isinstance(error, msgspec.DecodeError):
        return error
    if isinstance(error, UnicodeDecodeError):
        return msgspec.DecodeError(f"text that is no UTF-8: {error.reason}")
    return msgspec.DecodeError("nested too deep")


def check_format(found: int, what: str, known: int) -> None:
    """Raise FormatError when ``found`` is a newer format than ``known``."""
    if found > known:
        raise FormatError(
            f"{what} of format {found}: {NEWER}, and this one knows formats up to "
            f"{known}; install the version that wrote it, or a later one, and start again"
        )


def _check_age(found: int, what: str) -> None:
    """Raise OlderFormatError when ``found`` is an older format than any that is read."""
    if found < OLDEST:
        raise OlderFormatError(
            f"{what} of format {found}: an older version of ecindex wrote it, and this one reads "
            f"formats from {OLDEST} on; {RAISE_EDITION}"
        )


def _number_of(encoded: bytes, place: int | None) -> int:
    """Return the number in a record of any format; 0 when there is none."""
    try:
        if place is None:
            return msgspec.msgpack.decode(encoded, type=_Numbered).v
        fields: list[Any] = msgspec.msgpack.decode(encoded, type=list)
    except _FAILURES:
        return 0
    found = fields[place] if len(fields) > place else 0
    return found if isinstance(found, int) else 0
