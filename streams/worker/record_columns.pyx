# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Records of a Kafka batch (format 2) -> columns, without an object a record.

aiokafka makes a record object for each and four passes take them apart again: a microsecond a
record. Field widths and zigzag varints: https://kafka.apache.org/documentation/#recordbatch.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from aiokafka.errors import CorruptRecordException

from streams.index.stamps import ARRIVAL_HEADER, BY_PRODUCER

HEADER_BYTES = 61
cdef Py_ssize_t HEADER = HEADER_BYTES
cdef bytes NAME = ARRIVAL_HEADER.encode()
cdef bytes CONTENT = BY_PRODUCER


cdef inline int64_t fixed(const uint8_t* p, int size) noexcept nogil:
    """A big-endian signed integer."""
    cdef uint64_t value = 0
    cdef int i
    for i in range(size):
        value = (value << 8) | p[i]
    if size < 8 and p[0] & 0x80:
        value |= ~(<uint64_t> 0) << (8 * size)
    return <int64_t> value


cdef inline const uint8_t* varint(const uint8_t* p, const uint8_t* end, int64_t* found) noexcept nogil:
    """A zigzag varint at ``p``; behind it, or NULL when it does not end in time."""
    cdef uint64_t value = 0
    cdef int shift = 0
    while p < end and shift < 70:
        value |= (<uint64_t> (p[0] & 0x7F)) << shift
        if not p[0] & 0x80:
            found[0] = <int64_t> (value >> 1) ^ -(<int64_t> (value & 1))
            return p + 1
        p += 1
        shift += 7
    return NULL


def head(const uint8_t[::1] data not None, Py_ssize_t at):
    """Head of the batch that begins at ``at``; None when no whole batch does.

    (where it ends, magic, crc, attributes, first offset, offset behind it, timestamp of the first,
    largest timestamp, number of records)
    """
    cdef Py_ssize_t left = data.shape[0] - at
    cdef const uint8_t* p
    cdef int64_t size
    if left < 17:
        return None
    p = &data[at]
    size = 12 + fixed(p + 8, 4)
    if size > left:
        return None
    if p[16] != 2:  # older ones are shorter, with other fields; the magic byte is where it was
        return at + size, p[16], 0, 0, fixed(p, 8), 0, 0, 0, 0
    if size < HEADER:
        raise CorruptRecordException(f"a batch of {size} bytes at byte {at} of a fetch")
    return (
        at + size,
        p[16],
        <uint32_t> fixed(p + 17, 4),
        <int> fixed(p + 21, 2),
        fixed(p, 8),
        fixed(p, 8) + fixed(p + 23, 4) + 1,
        fixed(p + 27, 8),
        fixed(p + 35, 8),
        <int> fixed(p + 57, 4),
    )


cdef inline bint text_at(const uint8_t** at, const uint8_t* end, bytes text) noexcept:
    """Step over the text at ``at``; whether it is ``text``. ``at`` becomes NULL when it does not end."""
    cdef int64_t size
    cdef bint found
    cdef const uint8_t* p = varint(at[0], end, &size)
    if p == NULL or size > end - p:
        at[0] = NULL
        return False
    if size < 0:
        at[0] = p
        return False
    found = size == len(text) and memcmp(p, <const char*> text, size) == 0
    at[0] = p + size
    return found


cdef bint says_imported(const uint8_t* p, const uint8_t* end) noexcept:
    """Whether the headers at ``p`` say that the record's own stamp is to be believed."""
    cdef int64_t count
    cdef bint named, wanted
    p = varint(p, end, &count)
    while p != NULL and count > 0:
        named = text_at(&p, end, NAME)
        if p == NULL:
            return False
        wanted = text_at(&p, end, CONTENT)
        if p != NULL and named and wanted:
            return True
        count -= 1
    return False


def read(
    const uint8_t[::1] payload not None,
    int count,
    int64_t first_offset,
    int64_t first_timestamp_ms,
    append_time_ms,
    int64_t next_offset,
    list offsets not None,
    list keys not None,
    list values not None,
    list timestamps_ms not None,
    bytearray doubtful,
):
    """Append the payload's records from ``next_offset`` on to the columns.

    ``append_time_ms``: the timestamp of all of them under LogAppendTime, else None. ``doubtful``: gets
    one byte a record, 1 when its stamp is its producer's word alone (index/stamps.py); None: not asked,
    and the headers are not read. Raises
    CorruptRecordException when the payload is not ``count`` records with rising offsets.
    """
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef const uint8_t* last
    cdef int64_t size, delta, place, before = -1
    cdef int64_t timestamp_ms
    cdef int i
    if count <= 0:
        return
    if payload.shape[0] == 0:
        raise CorruptRecordException(f"{count} records in no bytes at offset {first_offset}")
    p = &payload[0]
    end = p + payload.shape[0]
    for i in range(count):
        p = varint(p, end, &size)
        if p == NULL or size <= 0 or size > end - p:
            raise CorruptRecordException(f"record {i} of the batch at offset {first_offset}")
        last = p + size
        p = varint(p + 1, last, &delta)  # behind the attributes, which say nothing
        if p != NULL:
            p = varint(p, last, &place)
        if p == NULL or place <= before:
            raise CorruptRecordException(f"record {i} of the batch at offset {first_offset}")
        before = place
        if first_offset + place < next_offset:
            p = last
            continue
        timestamp_ms = first_timestamp_ms + delta
        p = varint(p, last, &size)
        if p == NULL or size > last - p:
            raise CorruptRecordException(f"key of record {i} of the batch at {first_offset}")
        if size < 0:
            key = None
        else:
            key = PyBytes_FromStringAndSize(<const char*> p, size)
            p += size
        p = varint(p, last, &size)
        if p == NULL or size > last - p:
            raise CorruptRecordException(f"value of record {i} of the batch at {first_offset}")
        values.append(None if size < 0 else PyBytes_FromStringAndSize(<const char*> p, size))
        keys.append(key)
        offsets.append(first_offset + place)
        timestamps_ms.append(timestamp_ms if append_time_ms is None else append_time_ms)
        if doubtful is not None:
            doubtful.append(0 if says_imported(p + size if size > 0 else p, last) else 1)
        p = last
