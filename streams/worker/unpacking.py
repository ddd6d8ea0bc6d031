"""Unpacks compressed batches within a limit.

aiokafka unpacks a whole batch, however large it gets. A zstd batch that Kafka accepted as one megabyte
may unpack to thirty gigabytes: it ends the worker, and ends it again after each restart. Here
unpacking stops at a limit that no batch of legal records reaches, and the reader sets the batch aside.
"""

from __future__ import annotations

import gzip
import io
import mmap
import threading
from typing import Any

import cramjam
from aiokafka import codec
from aiokafka.record import default_records as pure
from aiokafka.record._crecords import default_records as compiled

UNPACKED_BYTES_MAX = 64 * 1024 * 1024
"""More than a producer's whole buffer (32 MB by default), of which a batch is a part."""
LZ4_RATIO_MAX = 255
"""An lz4 block unpacks to at most this many times its size."""

_NO_ROOM = "whole buffer"
_buffers = threading.local()


class UnpackedTooLargeError(Exception):
    """A batch that unpacks to more than the limit."""


def install() -> None:
    """Make aiokafka unpack through here, in this process for good; repeated calls are safe."""
    for module in (compiled, pure):
        module.gzip_decode = gzip_decode
        module.lz4_decode = lz4_decode
        module.zstd_decode = zstd_decode


def gzip_decode(payload: Any) -> bytes:
    """Unpack gzip."""
    with gzip.GzipFile(fileobj=io.BytesIO(payload), mode="r") as file:
        unpacked = file.read(UNPACKED_BYTES_MAX + 1)
    if len(unpacked) > UNPACKED_BYTES_MAX:
        raise UnpackedTooLargeError
    return unpacked


def lz4_decode(payload: Any) -> bytes:
    """Unpack lz4. A small batch cannot exceed the limit, so aiokafka's own function unpacks it."""
    if len(payload) * LZ4_RATIO_MAX <= UNPACKED_BYTES_MAX:
        unpacked: bytes = codec.lz4_decode(payload)
        return unpacked
    return _bounded(cramjam.lz4, payload)


def zstd_decode(payload: Any) -> bytes:
    """Unpack zstd, whose ratio has no bound."""
    return _bounded(cramjam.zstd, payload)


def _bounded(algorithm: Any, payload: Any) -> bytes:
    buffer = getattr(_buffers, "buffer", None)
    if buffer is None:
        # Its pages take memory only as far as a batch has reached.
        buffer = _buffers.buffer = mmap.mmap(-1, UNPACKED_BYTES_MAX)
    try:
        size = algorithm.decompress_into(payload, buffer)
    except cramjam.DecompressionError as error:
        if _NO_ROOM in str(error):
            raise UnpackedTooLargeError from error
        raise
    return bytes(buffer[:size])
