"""Events that wait on disk until Kafka takes them: bounded, in order, synced before they are promised.

A directory of segments, each a row of frames. A frame is what one request brought, so a request is kept
whole or not at all. What was taken is removed by the segment, and a small file says how far the first
one was taken. Nothing here is asynchronous: one thread calls it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
import structlog
from crc32c import crc32c

from streams.console.errors import OperationError
from streams.index.formats import json_reader, msgpack_reader
from streams.sources.outgoing import Outgoing

SEGMENT_BYTES = 8 * 1024 * 1024
_HEAD = struct.Struct("<II")
"""Length and CRC-32C of the frame's content."""
_SUFFIX = ".spool"

_log = structlog.get_logger(__name__)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgpack_reader(list[Outgoing])


class SpoolFullError(Exception):
    """The events have no room: they were not kept."""


class SpoolFrame(NamedTuple):
    """What one request brought. ``number`` counts frames of this process; ``end``: where it ends."""

    number: int
    segment: int
    end: int
    events: list[Outgoing]


class _Taken(msgspec.Struct):
    """How far the first segment was taken."""

    segment: int
    end: int
    v: int = 1


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    bytes: int


_taken_of = json_reader(_Taken)


class Spool:
    """The events of one directory, which no other process may use meanwhile."""

    def __init__(
        self, directory: Path, bytes_max: int, *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Take over what a process before has left. Raises OperationError.

        ``bytes_max``: what may wait at most.
        """
        self._directory = directory
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._segments: deque[_Segment] = deque()
        self._out: IO[bytes] | None = None
        """The last segment, while this process appends to it."""
        self._at = 0
        """Where in the first segment the first frame begins that was not taken."""
        self._first = self._next = self._next_segment = 0
        self.oldest_ms: int | None = None
        """When the event that waits for longest was accepted; None: none waits."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (directory / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load()
        except BlockingIOError as error:
            raise OperationError(
                f"another door uses {directory}: give each one a data_dir of its own"
            ) from error
        except OSError as error:
            raise OperationError(f"cannot keep events below data_dir: {error}") from error

    @property
    def waiting_bytes(self) -> int:
        """How much waits. Also for other threads: nothing appends while a tuple is made."""
        return sum(segment.bytes for segment in tuple(self._segments)) - self._at

    def append(self, requests: Sequence[Sequence[Outgoing]]) -> list[int | None]:
        """Keep what several requests brought, with one sync; return the number of each one's frame.

        None: there was no room for it. Raises OSError, and then none of them is promised.
        """
        waiting, numbers, frames = self.waiting_bytes, list[int | None](), list[bytes]()
        for events in requests:
            content = _encode(events)
            frame = _HEAD.pack(len(content), crc32c(content)) + content
            fits = waiting + len(frame) <= self._bytes_max
            numbers.append(self._next + len(frames) if fits else None)
            if fits:
                frames.append(frame)
                waiting += len(frame)
        if frames:
            self._write(b"".join(frames))
            self._next += len(frames)
            if self.oldest_ms is None:
                kept = zip(requests, numbers, strict=True)
                self.oldest_ms = next(e[0].timestamp_ms for e, number in kept if number is not None)
        return numbers

    def read(self, bytes_max: int) -> list[SpoolFrame]:
        """The frames that wait for longest, about as much as this; at least one if any waits."""
        found: list[SpoolFrame] = []
        number, start, left = self._first, self._at, bytes_max
        for segment in self._segments:
            with segment.path.open("rb") as file:
                file.seek(start)
                for content, end in _frames(file, segment.bytes):
                    found.append(SpoolFrame(number, segment.number, end, _decode(content)))
                    number += 1
                    left -= len(content)
                    if left <= 0:
                        return found
            start = 0
        return found

    def take_frames(self, last: SpoolFrame) -> int:
        """Forget every frame up to this one, as Kafka has them; return how many bytes wait still.

        Raises OSError.
        """
        self._first = last.number + 1
        while self._segments[0].number < last.segment:
            self._segments.popleft().path.unlink(missing_ok=True)
        self._at = last.end
        head = self._segments[0]
        if self._at == head.bytes:  # the next frame begins a segment
            self._end_segment(head)
            self._segments.popleft()
            self._at = 0
        # After the end of a process, what was taken is not sent again. Without a sync, or room for
        # it: then it is, and counts once.
        with contextlib.suppress(OSError):
            self._note(_Taken(head.number, last.end))
        if self._at == 0:
            head.path.unlink(missing_ok=True)
        waiting = self.read(1) if self._segments else []
        self.oldest_ms = waiting[0].events[0].timestamp_ms if waiting else None
        return self.waiting_bytes

    def close(self) -> None:
        """Let another process use the directory. Safe to call twice."""
        if self._out is not None:
            self._out.close()
            self._out = None
        self._lock.close()

    # -- files ---------------------------------------------------------------------------------------

    def _write(self, content: bytes) -> None:
        if self._out is None or self._segments[-1].bytes >= self._segment_bytes:
            self._begin_segment()
        out, segment = self._out, self._segments[-1]
        assert out is not None
        try:
            left = memoryview(content)
            while left:  # a file without a buffer may take less than it was given
                left = left[out.write(left) :]
            os.fsync(out.fileno())
        except OSError:
            # What was not synced may be on disk or not: nobody was promised it.
            with contextlib.suppress(OSError):
                out.truncate(segment.bytes)
            self._end_segment(segment)
            raise
        segment.bytes += len(content)

    def _begin_segment(self) -> None:
        if self._out is not None:
            self._out.close()
        number = self._next_segment
        path = self._directory / f"{number:012}{_SUFFIX}"
        self._out = path.open("xb", buffering=0)
        self._next_segment += 1
        self._segments.append(_Segment(number, path, 0))
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _end_segment(self, segment: _Segment) -> None:
        """Append to it no more."""
        if self._out is not None and segment is self._segments[-1]:
            self._out.close()
            self._out = None

    def _note(self, taken: _Taken) -> None:
        partial = self._directory / "taken.partial"
        partial.write_bytes(msgspec.json.encode(taken))
        partial.replace(self._directory / "taken.json")

    def _load(self) -> None:
        taken = self._read_taken()
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            number = int(path.stem)
            if number < taken.segment:
                path.unlink()
                continue
            size = _whole_frames(path)
            start = taken.end if number == taken.segment else 0
            if size <= start:
                path.unlink()
                continue
            if not self._segments:
                self._at = start
            self._segments.append(_Segment(number, path, size))
        newest = self._segments[-1].number if self._segments else taken.segment
        self._next_segment = newest + 1
        for segment in self._segments:
            start = self._at if segment is self._segments[0] else 0
            with segment.path.open("rb") as file:
                file.seek(start)
                self._next += sum(1 for _ in _frames(file, segment.bytes))
        if self._segments:
            self.oldest_ms = self.read(1)[0].events[0].timestamp_ms

    def _read_taken(self) -> _Taken:
        try:
            return _taken_of((self._directory / "taken.json").read_bytes())
        except FileNotFoundError:
            return _Taken(0, 0)
        except msgspec.DecodeError:  # the machine ended while it was written
            return _Taken(0, 0)


def _frames(file: IO[bytes], size: int) -> Iterator[tuple[bytes, int]]:
    """(content, where it ends) of each whole frame from here on, up to ``size``."""
    end = file.tell()
    while end + _HEAD.size <= size:
        length, crc = _HEAD.unpack(file.read(_HEAD.size))
        content = file.read(length) if end + _HEAD.size + length <= size else b""
        if len(content) != length or crc32c(content) != crc:
            return
        end += _HEAD.size + length
        yield content, end


def _whole_frames(path: Path) -> int:
    """Size of a segment up to where its frames end; what is behind is put elsewhere.

    A frame that a crash cut short was promised to nobody. If a disk has damaged one, what is behind it
    cannot be found again: whoever looks after the door may want to see it.
    """
    size = path.stat().st_size
    with path.open("rb+") as file:
        end = max((end for _, end in _frames(file, size)), default=0)
        if end < size:
            file.seek(end)
            unreadable = path.with_suffix(".unreadable")
            unreadable.write_bytes(file.read())
            file.truncate(end)
            _log.warning(
                "spool_cut_short",
                file=str(unreadable),
                bytes=size - end,
                detail="a frame that was not written whole, and was acknowledged to nobody, unless the "
                "disk is damaged",
            )
    return end
