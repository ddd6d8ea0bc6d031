"""Records that workers keep for themselves and cannot read: which one it is that ends a worker.

It may have taken the place of a record that counted, so nothing goes on over it. A worker ended with
what msgspec or a dictionary said of it, and left its operator to find the record among all topics.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import in_log

UNREADABLE = (msgspec.DecodeError, ValueError, TypeError, LookupError, ArithmeticError)
"""What decoding or restoring a record raises that is not as it must be."""
_KEY_CHARACTERS = 200


class OwnRecordError(msgspec.DecodeError):
    """A record of a topic of our own cannot be read. Whoever wrote it, or the operator, must act."""

    def __init__(self, key: bytes | None, cause: BaseException, where: str = "") -> None:
        """``where``: ``topic-partition@offset``; empty where only the caller knows."""
        self.key, self.cause, self.where = key, cause, where
        reason = str(cause) if isinstance(cause, msgspec.DecodeError) else repr(cause)
        shown = (key or b"").decode(errors="replace")[:_KEY_CHARACTERS]
        super().__init__(
            f"{where}, key {shown!r}: this record cannot be read: {reason}; run `ecindex doctor`, which "
            "says what to do about it"
        )

    def at(self, sp: SourcePartition, offset: int) -> OwnRecordError:
        """Return the error with the place of the record."""
        return OwnRecordError(self.key, self.cause, place(sp, offset))


def place(sp: SourcePartition, offset: int) -> str:
    """Return where a record lies; ``offset`` may be counted over several logs."""
    return f"{sp}@{in_log(offset)}"


@contextmanager
def reading(key: bytes | None, where: str = "") -> Iterator[None]:
    """Name the record by its key, and place if it is known, when what is done inside fails."""
    try:
        yield
    except OwnRecordError:
        raise
    except UNREADABLE as error:
        raise OwnRecordError(key, error, where) from error
