# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Records of a Kafka batch (format 2) -> columns, without an object a record.

aiokafka makes a record object for each and four passes take them apart again: a microsecond a
record. Field widths and zigzag varints: https://kafka.apache.org/documentation/#recordbatch.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from aiokafka.errors import CorruptRecordException

HEADER_BYTES = 61
cdef Py_ssize_t HEADER = HEADER_BYTES


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
):
    """Append the payload's records from ``next_offset`` on to the four columns.

    ``append_time_ms``: the timestamp of all of them under LogAppendTime, else None. Raises
    CorruptRecordException when the payload is not ``count`` records.
    """
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef const uint8_t* last
    cdef int64_t size, delta, place
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
        if p == NULL:
            raise CorruptRecordException(f"record {i} of the batch at offset {first_offset}")
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
        p = last  # headers are not read
