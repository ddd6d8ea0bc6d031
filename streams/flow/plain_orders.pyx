# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, infer_types=False
"""The compiled half of ``fold_orders``: order events of the plain shape, at many times the speed.

A record is plain when nothing about it needs a second check: one JSON object in UTF-8 that names no
key twice, ``order.placed`` without ``placed_at``, every field that is read of the type that the
contract advises, an instant to the microsecond at most, its pane open, its sums far from their
limits. What nobody reads may be any JSON. ``fold_plain`` folds such records in order and stops at the
first other one, before that had any effect. The Python half folds it, by the definitions in rows.py,
and comes back. So rows.py says what counts, and how; this module only repeats it for the common case.
tests/property/test_plain_orders.py holds the two equal. Without a compiler at installation this module
is missing, and nothing but the speed changes.
"""

from cpython.array cimport array, extend_buffer
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.set cimport PySet_Add, PySet_Contains, PySet_GET_SIZE
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from xxhash import xxh3_64_intdigest

from streams.flow.ids import ID_SEED
from streams.flow.remembered import REFUSED_BITS
from streams.flow.source_state import BOTH as BOTH_FLAGS
from streams.flow.state import COUPONS_MAX, NEVER_MS
from streams.index import partials as col
from streams.index.event_types import EVENT_SUM_MAX, ID_BYTES_MAX
from streams.index.events import DEPTH_MAX, RECORD_BYTES_MAX
from streams.index import label_rows
from streams.index.label_text import MORE
from streams.index.shoppers import REGISTERS_LOG2, SHOPPER_SEED
from streams.index.stamps import STAMPS_MS

cdef enum:
    LINES_MAX = 64          # more lines are rare: the Python half has no limit
    KEYS_MAX = 128          # unknown keys of the objects around one place of a record
    SCRATCH_MAX = 16384     # bytes of a record's texts that are written with escapes
    LABELS_MAX = 4095       # numbers of labels, and of label sets, must fit twelve bits
    LABEL_BYTES_MAX = 512   # so that the labels take at most a few MB
    LABEL_SLOTS = 16384
    CELLS_MAX = 3500
    CELL_SLOTS = 8192
    PANES_MAX = 250         # ids must fit eight bits
    WAITING_MAX = 64            # shoppers of a pane that wait in this call
    MARKETS_MAX = 64

cdef int64_t QUANTITY_MAX = 100_000             # times PRICE_MAX times LINES_MAX stays below 2**63
cdef int64_t PRICE_MAX = 1_000_000_000_000
cdef int64_t VOLUME_MAX = 4_000_000_000_000_000_000
cdef int64_t ORDER_MAX = EVENT_SUM_MAX          # beyond it the Python half leaves lines out

cdef int64_t NEVER = NEVER_MS
cdef int64_t STAMPS_END_MS = STAMPS_MS.stop
cdef int BOTH = BOTH_FLAGS
cdef int ID_MAX = ID_BYTES_MAX
cdef Py_ssize_t RECORD_MAX = RECORD_BYTES_MAX
cdef int NESTED_MAX = DEPTH_MAX
cdef object digest = xxh3_64_intdigest
cdef object seed = ID_SEED
cdef object shopper_seed = SHOPPER_SEED
cdef int FILTER_BITS = REFUSED_BITS
cdef int RANK_BITS = 64 - REGISTERS_LOG2
cdef Py_ssize_t COUPONS = COUPONS_MAX


cdef enum:                  # how many brackets are open around a value
    IN_AN_ORDER = 1
    IN_A_LINE = 3

cdef enum:                  # what a cell counts; the first four are dimensions of label_rows
    CATEGORY = 0
    METHOD = 1
    REGION = 2
    CHANNEL = 3
    WHOLE = 4
    SHOPPERS = 5            # orders with a shopper, new known, new: in orders, units, sales
    SET = 6                 # orders that name the labels of a set

cdef int ORDERS = col.ORDERS
cdef int CHOSEN = col.CHOSEN
cdef int PLACED_AT = col.PLACED_AT
cdef object beyond = MORE
cdef int SHOPPER_ORDERS = col.SHOPPER_ORDERS
cdef int NEW_KNOWN = col.NEW_KNOWN
cdef int NEW_SHOPPERS = col.NEW_SHOPPERS

cdef struct Text:
    const uint8_t* at
    Py_ssize_t size


cdef struct Line:
    Text category
    int64_t quantity
    int64_t price


cdef struct Order:
    Text event_id
    Text occurred_at
    Text market
    Text order_id           # at NULL: none
    Text currency
    Text method
    Text region
    Text channel
    Text shopper            # at NULL: anonymous
    int new_shopper         # -1: absent
    int lines
    Line line[LINES_MAX]


cdef struct Reading:
    Text keys[KEYS_MAX]         # unknown keys of the objects that are open at this place
    int keys_count
    uint8_t scratch[SCRATCH_MAX]    # texts that were written with escapes, as the characters they mean
    int used


# -- one record -----------------------------------------------------------------------------------

cdef uint8_t PLAIN[256]     # printable ASCII that stands for itself: no quotation mark, no backslash
memset(PLAIN, 0, 256)
for _code in range(0x20, 0x7F):
    PLAIN[_code] = 1
PLAIN[0x22] = PLAIN[0x5C] = 0


cdef inline const uint8_t* blank(const uint8_t* p) noexcept nogil:
    # A bytes object ends in a zero byte, which stops every scan.
    while p[0] == 0x20 or p[0] == 0x0A or p[0] == 0x0D or p[0] == 0x09:
        p += 1
    return p


cdef inline const uint8_t* plain(const uint8_t* p, Text* found) noexcept nogil:
    """Read a string of printable ASCII without escapes at ``p``; return what is behind it, or NULL."""
    if p[0] != 0x22:
        return NULL
    p += 1
    found.at = p
    while PLAIN[p[0]]:
        p += 1
    if p[0] != 0x22:
        return NULL
    found.size = p - found.at
    return p + 1


cdef inline const uint8_t* text(const uint8_t* p, Text* found, Reading* reading) noexcept nogil:
    """Read a string at ``p``; return what is behind it, or NULL."""
    cdef const uint8_t* behind = plain(p, found)
    return behind if behind != NULL else text_of_any(p, found, reading)


cdef inline const uint8_t* optional(const uint8_t* p, Text* found, Reading* reading) noexcept nogil:
    """Read a string, or null or an empty one for none; return what is behind it, or NULL."""
    if p[0] == 0x6E:
        found.at = NULL
        return word(p, b"null", 4)
    p = text(p, found, reading)
    if p != NULL and found.size == 0:
        found.at = NULL
    return p


cdef inline const uint8_t* identifier(const uint8_t* p, Text* found, Reading* reading) noexcept nogil:
    """Read the text of an id at ``p``; return what is behind it, or NULL."""
    cdef const uint8_t* behind = plain(p, found)
    if behind == NULL:
        behind = text_of_any(p, found, reading)
        if behind == NULL or has_control(found):
            return NULL
    return behind if 0 < found.size <= ID_MAX else NULL


cdef inline const uint8_t* optional_id(const uint8_t* p, Text* found, Reading* reading) noexcept nogil:
    """Read an id, or null or an empty one for none; return what is behind it, or NULL."""
    found.at = NULL
    if p[0] == 0x6E:
        return word(p, b"null", 4)
    if p[0] == 0x22 and p[1] == 0x22:
        return p + 2
    return identifier(p, found, reading)


cdef bint has_control(const Text* found) noexcept nogil:
    """Whether a text has a character of U+0000 to U+001F or U+007F to U+009F."""
    cdef Py_ssize_t i
    for i in range(found.size):
        if found.at[i] < 0x20 or found.at[i] == 0x7F:
            return True
        if found.at[i] == 0xC2 and found.at[i + 1] < 0xA0:
            return True
    return False


cdef inline int beyond_ascii(const uint8_t* p) noexcept nogil:
    """How many bytes the character at ``p`` has, if it is a legal one that ``PLAIN`` lacks; else 0.

    Bytes are looked at in order: what ends a record is no part of any character.
    """
    cdef uint8_t first = p[0]
    if 0xC2 <= first <= 0xDF:
        return 2 if p[1] & 0xC0 == 0x80 else 0
    if first & 0xF0 == 0xE0:
        if p[1] & 0xC0 != 0x80 or p[2] & 0xC0 != 0x80:
            return 0
        if (first == 0xE0 and p[1] < 0xA0) or (first == 0xED and p[1] >= 0xA0):
            return 0  # longer than need be, or half of a pair
        return 3
    if 0xF0 <= first <= 0xF4:
        if p[1] & 0xC0 != 0x80 or p[2] & 0xC0 != 0x80 or p[3] & 0xC0 != 0x80:
            return 0
        if (first == 0xF0 and p[1] < 0x90) or (first == 0xF4 and p[1] >= 0x90):
            return 0
        return 4
    return 1 if first == 0x7F else 0


cdef const uint8_t* characters(const uint8_t* p) noexcept nogil:
    """Skip the characters of a string that stand for themselves."""
    cdef int size
    while True:
        while PLAIN[p[0]]:
            p += 1
        size = beyond_ascii(p)
        if size == 0:
            return p
        p += size


cdef inline int32_t unit(const uint8_t* p) noexcept nogil:
    """The number that ``uXXXX`` at ``p`` names, or -1."""
    cdef int32_t value = 0
    cdef int i
    cdef uint8_t digit
    if p[0] != 0x75:
        return -1
    for i in range(1, 5):
        digit = p[i]
        if 0x30 <= digit <= 0x39:
            digit -= 0x30
        elif 0x61 <= digit | 0x20 <= 0x66:
            digit = (digit | 0x20) - 0x57
        else:
            return -1
        value = value << 4 | digit
    return value


cdef const uint8_t* escape(const uint8_t* p, int32_t* meant) noexcept nogil:
    """Read what a backslash before ``p`` means; return what is behind it, or NULL.

    Half of a surrogate pair means no character.
    """
    cdef int32_t low
    cdef uint8_t named = p[0]
    if named == 0x75:
        meant[0] = unit(p)
        p += 5 if meant[0] >= 0 else 0
        if meant[0] < 0 or 0xDC00 <= meant[0] <= 0xDFFF:
            return NULL
        if meant[0] & ~0x3FF == 0xD800:
            if p[0] != 0x5C:
                return NULL
            low = unit(p + 1)
            if low & ~0x3FF != 0xDC00:
                return NULL
            meant[0] = 0x10000 + ((meant[0] & 0x3FF) << 10 | (low & 0x3FF))
            p += 6
        return p
    if named == 0x22 or named == 0x5C or named == 0x2F:
        meant[0] = named
    elif named == 0x62:
        meant[0] = 0x08
    elif named == 0x66:
        meant[0] = 0x0C
    elif named == 0x6E:
        meant[0] = 0x0A
    elif named == 0x72:
        meant[0] = 0x0D
    elif named == 0x74:
        meant[0] = 0x09
    else:
        return NULL
    return p + 1


cdef inline int put(uint8_t* at, int32_t character) noexcept nogil:
    """Write a character in UTF-8; return how many bytes it took."""
    if character < 0x80:
        at[0] = <uint8_t> character
        return 1
    if character < 0x800:
        at[0] = <uint8_t> (0xC0 | character >> 6)
        at[1] = <uint8_t> (0x80 | (character & 0x3F))
        return 2
    if character < 0x10000:
        at[0] = <uint8_t> (0xE0 | character >> 12)
        at[1] = <uint8_t> (0x80 | (character >> 6 & 0x3F))
        at[2] = <uint8_t> (0x80 | (character & 0x3F))
        return 3
    at[0] = <uint8_t> (0xF0 | character >> 18)
    at[1] = <uint8_t> (0x80 | (character >> 12 & 0x3F))
    at[2] = <uint8_t> (0x80 | (character >> 6 & 0x3F))
    at[3] = <uint8_t> (0x80 | (character & 0x3F))
    return 4


cdef const uint8_t* text_of_any(const uint8_t* p, Text* found, Reading* reading) noexcept nogil:
    """Read a string of any characters at ``p``; return what is behind it, or NULL.

    Without escapes its text lies in the record. With some it is decoded into the scratch.
    """
    cdef uint8_t* to = reading.scratch + reading.used
    cdef const uint8_t* end = reading.scratch + SCRATCH_MAX
    cdef const uint8_t* part = p + 1
    cdef int32_t character = 0
    if p[0] != 0x22:
        return NULL
    p = characters(part)
    if p[0] == 0x22:
        found.at = part
        found.size = p - part
        return p + 1
    found.at = to
    while p[0] == 0x5C:
        if end - to < p - part + 5:
            return NULL
        memcpy(to, part, p - part)
        to += p - part
        part = escape(p + 1, &character)
        if part == NULL:
            return NULL
        to += put(to, character)
        p = characters(part)
    if p[0] != 0x22 or end - to < p - part + 1:
        return NULL
    memcpy(to, part, p - part)
    to += p - part
    to[0] = 0x22  # no reader of a text passes its end
    found.size = to - found.at
    reading.used = <int> (to + 1 - reading.scratch)
    return p + 1


cdef inline const uint8_t* word(const uint8_t* p, const char* expected, int size) noexcept nogil:
    cdef int i
    for i in range(size):
        if p[i] != <uint8_t> expected[i]:
            return NULL
    return p + size


cdef inline const uint8_t* natural(const uint8_t* p, int64_t* found) noexcept nogil:
    """Read an integer of at most 18 digits, without sign or exponent; only zeros behind the point."""
    cdef int64_t value = 0
    cdef const uint8_t* began = p
    while 0x30 <= p[0] <= 0x39:
        value = value * 10 + (p[0] - 0x30)
        p += 1
        if p - began > 18:
            return NULL
    if p == began or (began[0] == 0x30 and p - began > 1):
        return NULL
    if p[0] == 0x2E:
        p += 1
        if p[0] != 0x30:
            return NULL
        while p[0] == 0x30:
            p += 1
        if 0x30 <= p[0] <= 0x39:
            return NULL
    if p[0] == 0x65 or p[0] == 0x45:
        return NULL
    found[0] = value
    return p


cdef inline const uint8_t* digits_at(const uint8_t* p) noexcept nogil:
    """Skip digits; return what is behind them, or NULL when there are none."""
    if not 0x30 <= p[0] <= 0x39:
        return NULL
    while 0x30 <= p[0] <= 0x39:
        p += 1
    return p


cdef inline const uint8_t* number(const uint8_t* p) noexcept nogil:
    """Skip any JSON number."""
    if p[0] == 0x2D:
        p += 1
    p = p + 1 if p[0] == 0x30 else digits_at(p)
    if p != NULL and p[0] == 0x2E:
        p = digits_at(p + 1)
    if p != NULL and (p[0] == 0x65 or p[0] == 0x45):
        p += 1
        if p[0] == 0x2B or p[0] == 0x2D:
            p += 1
        p = digits_at(p)
    return p


cdef const uint8_t* unread_text(const uint8_t* p) noexcept nogil:
    """Skip a string, however long."""
    cdef int32_t character
    p = characters(p + 1)
    while p[0] == 0x5C:
        p = escape(p + 1, &character)
        if p == NULL:
            return NULL
        p = characters(p)
    return p + 1 if p[0] == 0x22 else NULL


cdef const uint8_t* unread(const uint8_t* p, int depth, Reading* reading) noexcept nogil:
    """Skip a value that nobody reads, within ``depth`` brackets; return what is behind it, or NULL."""
    if p[0] == 0x22:
        return unread_text(p)
    if p[0] == 0x7B or p[0] == 0x5B:
        if depth == NESTED_MAX:
            return NULL
        return unread_object(p, depth + 1, reading) if p[0] == 0x7B else unread_array(p, depth + 1, reading)
    if p[0] == 0x74:
        return word(p, b"true", 4)
    if p[0] == 0x66:
        return word(p, b"false", 5)
    if p[0] == 0x6E:
        return word(p, b"null", 4)
    return number(p)


cdef const uint8_t* unread_array(const uint8_t* p, int depth, Reading* reading) noexcept nogil:
    p = blank(p + 1)
    if p[0] == 0x5D:
        return p + 1
    while True:
        p = unread(p, depth, reading)
        if p == NULL:
            return NULL
        p = blank(p)
        if p[0] == 0x5D:
            return p + 1
        if p[0] != 0x2C:
            return NULL
        p = blank(p + 1)


cdef const uint8_t* unread_object(const uint8_t* p, int depth, Reading* reading) noexcept nogil:
    cdef Text key
    cdef int first = reading.keys_count, used = reading.used
    p = blank(p + 1)
    if p[0] == 0x7D:
        return p + 1
    while True:
        p = text(p, &key, reading)
        if p == NULL or known(reading, first, key):
            return NULL
        p = blank(p)
        if p[0] != 0x3A:
            return NULL
        p = unread(blank(p + 1), depth, reading)
        if p == NULL:
            return NULL
        p = blank(p)
        if p[0] == 0x7D:
            reading.keys_count = first
            reading.used = used
            return p + 1
        if p[0] != 0x2C:
            return NULL
        p = blank(p + 1)


cdef inline bint same(Text a, const char* b, Py_ssize_t size) noexcept nogil:
    return a.size == size and memcmp(a.at, b, size) == 0


cdef inline bint known(Reading* reading, int first, Text key) noexcept nogil:
    """Whether the object that began at key ``first`` has the key, or there are too many to tell."""
    cdef int i
    for i in range(first, reading.keys_count):
        if reading.keys[i].size == key.size and memcmp(reading.keys[i].at, key.at, key.size) == 0:
            return True
    if reading.keys_count == KEYS_MAX:
        return True
    reading.keys[reading.keys_count] = key
    reading.keys_count += 1
    return False


cdef inline const uint8_t* nothing(const uint8_t* p) noexcept nogil:
    """Skip null or an empty string; anything else is NULL."""
    if p[0] == 0x22 and p[1] == 0x22:
        return p + 2
    return word(p, b"null", 4)


cdef const uint8_t* read_line(const uint8_t* p, Line* line, Reading* reading) noexcept nogil:
    """Read one object of ``lines``; return what is behind it, or NULL."""
    cdef Text key
    cdef int first = reading.keys_count
    cdef int seen = 0, bit
    line.category.at = NULL
    if p[0] != 0x7B:
        return NULL
    p = blank(p + 1)
    while True:
        p = text(p, &key, reading)
        if p == NULL:
            return NULL
        p = blank(p)
        if p[0] != 0x3A:
            return NULL
        p = blank(p + 1)
        bit = 0
        if same(key, b"sku", 3):
            bit = 1
            p = unread(p, IN_A_LINE, reading)
        elif same(key, b"category", 8):
            bit = 2
            p = optional(p, &line.category, reading)
        elif same(key, b"quantity", 8):
            bit = 4
            p = natural(p, &line.quantity)
            if p == NULL or line.quantity == 0 or line.quantity > QUANTITY_MAX:
                return NULL
        elif same(key, b"unit_price_minor", 16):
            bit = 8
            p = natural(p, &line.price)
            if p == NULL or line.price > PRICE_MAX:
                return NULL
        else:
            if known(reading, first, key):
                return NULL
            p = unread(p, IN_A_LINE, reading)
        if p == NULL or seen & bit:
            return NULL
        seen |= bit
        p = blank(p)
        if p[0] == 0x2C:
            p = blank(p + 1)
        elif p[0] == 0x7D:
            reading.keys_count = first
            return p + 1 if seen & 12 == 12 else NULL
        else:
            return NULL


cdef const uint8_t* read_lines(const uint8_t* p, Order* order, Reading* reading) noexcept nogil:
    order.lines = 0
    if p[0] != 0x5B:
        return NULL
    p = blank(p + 1)
    if p[0] == 0x5D:
        return p + 1
    while True:
        if order.lines == LINES_MAX:
            return NULL
        p = read_line(p, &order.line[order.lines], reading)
        if p == NULL:
            return NULL
        order.lines += 1
        p = blank(p)
        if p[0] == 0x2C:
            p = blank(p + 1)
        elif p[0] == 0x5D:
            return p + 1
        else:
            return NULL


cdef bint read_order(
    const uint8_t* p, const uint8_t* end, Order* order, Reading* reading
) noexcept nogil:
    """Whether the record is a plain placed order; its parts are then in ``order``."""
    cdef Text key, value
    cdef int seen = 0, bit
    order.order_id.at = order.method.at = order.region.at = order.channel.at = order.shopper.at = NULL
    order.new_shopper = -1
    reading.keys_count = reading.used = 0
    p = blank(p)
    if p[0] != 0x7B:
        return False
    p = blank(p + 1)
    while True:
        p = text(p, &key, reading)
        if p == NULL:
            return False
        p = blank(p)
        if p[0] != 0x3A:
            return False
        p = blank(p + 1)
        bit = 0
        if same(key, b"event_id", 8):
            bit = 1
            p = identifier(p, &order.event_id, reading)
        elif same(key, b"type", 4):
            bit = 2
            p = text(p, &value, reading)
            if p == NULL or not same(value, b"order.placed", 12):
                return False
        elif same(key, b"occurred_at", 11):
            bit = 4
            p = text(p, &order.occurred_at, reading)
        elif same(key, b"market", 6):
            bit = 8
            p = text(p, &order.market, reading)
        elif same(key, b"order_id", 8):
            bit = 16
            p = optional_id(p, &order.order_id, reading)
        elif same(key, b"currency", 8):
            bit = 32
            p = text(p, &order.currency, reading)
        elif same(key, b"lines", 5):
            bit = 64
            p = read_lines(p, order, reading)
        elif same(key, b"payment_method", 14):
            bit = 128
            p = optional(p, &order.method, reading)
        elif same(key, b"shopper_id", 10):
            bit = 256
            p = optional_id(p, &order.shopper, reading)
        elif same(key, b"region", 6):
            bit = 512
            p = optional(p, &order.region, reading)
        elif same(key, b"channel", 7):
            bit = 1024
            p = optional(p, &order.channel, reading)
        elif same(key, b"new_shopper", 11):
            bit = 2048
            if p[0] == 0x74:
                order.new_shopper = 1
            elif p[0] == 0x66:
                order.new_shopper = 0
            elif p[0] != 0x6E:
                return False
            p = unread(p, IN_AN_ORDER, reading)
        elif same(key, b"seller_id", 9):
            bit = 4096
            p = unread(p, IN_AN_ORDER, reading)
        elif same(key, b"placed_at", 9):
            bit = 8192
            p = nothing(p)
        elif same(key, b"refund_id", 9):
            bit = 16384
            p = nothing(p)
        else:
            if known(reading, 0, key):
                return False
            p = unread(p, IN_AN_ORDER, reading)
        if p == NULL or seen & bit:
            return False
        seen |= bit
        p = blank(p)
        if p[0] == 0x2C:
            p = blank(p + 1)
        elif p[0] == 0x7D:
            return seen & 111 == 111 and blank(p + 1) == end
        else:
            return False


cdef int DAYS[13]
DAYS[:] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


cdef inline int digits(const uint8_t* p, int count) noexcept nogil:
    """Read a number of ``count`` digits; -1 when it is not one."""
    cdef int value = 0, i
    for i in range(count):
        if not 0x30 <= p[i] <= 0x39:
            return -1
        value = value * 10 + (p[i] - 0x30)
    return value


cdef int64_t instant(Text found) noexcept nogil:
    """UTC epoch ms of ``YYYY-MM-DDTHH:MM:SS[.f](Z|+HH:MM|-HH:MM)``, or -1 when it is not that."""
    cdef const uint8_t* p = found.at
    cdef const uint8_t* end = found.at + found.size
    cdef int year, month, day, hour, minute, second, ms = 0, places = 0, offset = 0
    cdef int64_t y, era, days
    if found.size < 20:
        return -1
    year, month, day = digits(p, 4), digits(p + 5, 2), digits(p + 8, 2)
    hour, minute, second = digits(p + 11, 2), digits(p + 14, 2), digits(p + 17, 2)
    if not (1971 <= year <= 2200 and 1 <= month <= 12 and day >= 1):
        return -1
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return -1
    if p[4] != 0x2D or p[7] != 0x2D or p[10] != 0x54 or p[13] != 0x3A or p[16] != 0x3A:
        return -1
    if day > DAYS[month] and not (
        month == 2 and day == 29 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    ):
        return -1
    p += 19
    if p[0] == 0x2E:
        p += 1
        while 0x30 <= p[0] <= 0x39:
            if places < 3:
                ms = ms * 10 + (p[0] - 0x30)
            places += 1
            p += 1
        if not 1 <= places <= 6:
            return -1
        while places < 3:
            ms *= 10
            places += 1
    if p[0] == 0x5A:
        p += 1
    elif (p[0] == 0x2B or p[0] == 0x2D) and end - p == 6 and p[3] == 0x3A:
        if digits(p + 1, 2) < 0 or digits(p + 1, 2) > 23:
            return -1
        if digits(p + 4, 2) < 0 or digits(p + 4, 2) > 59:
            return -1
        offset = digits(p + 1, 2) * 60 + digits(p + 4, 2)
        if p[0] == 0x2D:
            offset = -offset
        p += 6
    else:
        return -1
    if p != end:
        return -1
    # Days since 1970-01-01 of a date: years from March, in eras of 400 years.
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    days = (
        era * 146097
        + (y - era * 400) * 365 + (y - era * 400) // 4 - (y - era * 400) // 100
        + (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
        - 719468
    )
    return ((days * 24 + hour) * 60 + minute - offset) * 60_000 + second * 1000 + ms


# -- labels: raw text -> the small number of its label ---------------------------------------------

cdef class RawLabels:
    """Labels by number, of raw texts; 0: nothing was said.

    Bounded: when half full it is emptied between calls.
    """

    cdef int16_t slots[LABEL_SLOTS]
    cdef list texts         # of each number: its label
    cdef dict numbers       # of each label: its number
    cdef list raws          # raw texts in the order of their slots' contents
    cdef int16_t number_of_raw[LABELS_MAX + 1]
    cdef int count
    cdef object known

    def __init__(self, known):
        self.known = known

    def __cinit__(self):
        self.clear()

    cdef void clear(self):
        memset(self.slots, 0, sizeof(self.slots))
        self.texts = [""]
        self.numbers = {"": 0}
        self.raws = [b""]
        self.count = 0

    cdef int number(self, Text label) except -2:
        """The number of a raw text's label, or -1 when there is no room for it."""
        cdef uint32_t mixed = 2166136261
        cdef Py_ssize_t i
        cdef int found
        if label.at == NULL:
            return 0
        if label.size > LABEL_BYTES_MAX:
            return -1
        for i in range(label.size):
            mixed = (mixed ^ label.at[i]) * <uint32_t> 16777619
        mixed ^= mixed >> 15
        while True:
            found = self.slots[mixed & (LABEL_SLOTS - 1)]
            if found == 0:
                break
            raw = <bytes> self.raws[found]
            if PyBytes_GET_SIZE(raw) == label.size and (
                memcmp(PyBytes_AS_STRING(raw), label.at, label.size) == 0
            ):
                return self.number_of_raw[found]
            mixed += 1
        if self.count == LABELS_MAX:
            return -1
        raw = PyBytes_FromStringAndSize(<const char*> label.at, label.size)
        self.count += 1
        self.raws.append(raw)
        self.slots[mixed & (LABEL_SLOTS - 1)] = <int16_t> self.count
        self.number_of_raw[self.count] = <int16_t> self.learn(self.known.get(raw.decode()))
        return self.number_of_raw[self.count]

    cdef int learn(self, str label) except -1:
        found = self.numbers.get(label)
        if found is None:
            found = self.numbers[label] = len(self.texts)
            self.texts.append(label)
        return found


cdef class LabelSets:
    """Sets of labels by number, each sorted. Bounded: when half full it is emptied between calls."""

    cdef int16_t slots[LABEL_SLOTS]
    cdef list sets          # of each number: the labels' numbers as they lie in memory
    cdef list names         # of each number: the labels
    cdef int count

    def __cinit__(self):
        self.clear()

    cdef void clear(self):
        memset(self.slots, 0, sizeof(self.slots))
        self.sets = [b""]
        self.names = [frozenset()]
        self.count = 0

    cdef int number(self, int* labels, int size, list texts) except -2:
        """The number of a set of sorted labels, or -1 when there is no room for it."""
        cdef uint32_t mixed = 2166136261
        cdef Py_ssize_t length = size * sizeof(int)
        cdef int i, found
        for i in range(size):
            mixed = (mixed ^ <uint32_t> labels[i]) * <uint32_t> 16777619
        mixed ^= mixed >> 15
        while True:
            found = self.slots[mixed & (LABEL_SLOTS - 1)]
            if found == 0:
                break
            held = <bytes> self.sets[found]
            if PyBytes_GET_SIZE(held) == length and memcmp(
                PyBytes_AS_STRING(held), labels, length
            ) == 0:
                return found
            mixed += 1
        if self.count == LABELS_MAX:
            return -1
        self.count += 1
        self.sets.append(PyBytes_FromStringAndSize(<const char*> labels, length))
        self.names.append(frozenset([texts[labels[i]] for i in range(size)]))
        self.slots[mixed & (LABEL_SLOTS - 1)] = <int16_t> self.count
        return self.count


cdef inline int distinct(int* labels, int* size, int label) noexcept:
    """Enter a label into a sorted list; return whether it is new there."""
    cdef int at = size[0]
    while at and labels[at - 1] > label:
        at -= 1
    if at and labels[at - 1] == label:
        return False
    memmove(labels + at + 1, labels + at, (size[0] - at) * sizeof(int))
    labels[at] = label
    size[0] += 1
    return True


# -- one source partition --------------------------------------------------------------------------

cdef struct Cell:
    uint64_t key
    int64_t orders
    int64_t units
    int64_t sales


cdef inline uint64_t quick_hash(Text order_id) noexcept nogil:
    """remembered.quick_hash, of an id that is not empty."""
    cdef uint64_t first = 0, last = 0
    cdef Py_ssize_t size = order_id.size if order_id.size < 8 else 8
    memcpy(&first, order_id.at, size)
    memcpy(&last, order_id.at + order_id.size - size, size)
    return (first * <uint64_t> 0x9E3779B97F4A7C15 ^ last * <uint64_t> 0xC2B2AE3D27D4EB4F) >> (
        64 - FILTER_BITS
    )


cdef class MarketSlot:
    """What the loop reads of a MarketState, as plain numbers."""

    cdef bytes code
    cdef bytes currency
    cdef object state
    cdef object panes
    cdef int64_t watermark_ms
    cdef int64_t next_close_ms
    cdef int pane                   # number of the pane of the market's last event, or -1
    cdef bint loaded
    cdef object filter
    cdef const uint8_t* refused     # the filter of refused orders; NULL: there is none
    cdef bint doubts                # whether some arrival of the market is doubted

    cdef int load(self) except -1:
        self.watermark_ms = self.state.watermark_ms
        self.next_close_ms = self.state.next_close_ms
        self.panes = self.state.panes
        self.doubts = bool(self.state.doubts)
        self.filter = self.state.refused_quick
        self.refused = NULL if self.filter is None else <const uint8_t*> PyByteArray_AS_STRING(self.filter)
        self.pane = -1
        self.loaded = True
        return 0

    cdef bint is_refused(self, Text order_id) except -1:
        """Whether the order counts after it was refused: the Python half notes that."""
        cdef uint64_t bit = quick_hash(order_id)
        if not self.refused[bit >> 3] >> (bit & 7) & 1:
            return False
        return self.state.is_refused(
            digest(PyBytes_FromStringAndSize(<const char*> order_id.at, order_id.size), seed)
        )


cdef class PaneSlot:
    """What the loop reads of a Pane."""

    cdef object pane
    cdef RowParts row
    cdef RowParts day               # of the pane's own day; None until something is added to it in this call
    cdef object ids
    cdef list fresh                 # ids counted in this call, not in pane.order yet
    cdef uint32_t waiting[WAITING_MAX]      # shoppers counted in this call, not in pane.coupons yet
    cdef int waiting_count
    cdef MarketSlot market
    cdef int64_t start_ms
    cdef int64_t late_from_ms

    cdef int add_shopper(self, Text shopper) except -1:
        """Count a shopper, as Pane.add_shopper does."""
        cdef uint64_t found = digest(
            PyBytes_FromStringAndSize(<const char*> shopper.at, shopper.size), shopper_seed
        )
        cdef uint64_t bit = <uint64_t> 1 << (RANK_BITS - 1)
        cdef uint32_t rank = 1
        while bit and not found & bit:
            bit >>= 1
            rank += 1
        self.waiting[self.waiting_count] = <uint32_t> (found >> RANK_BITS) << 6 | rank
        self.waiting_count += 1
        if self.waiting_count == WAITING_MAX:
            self.flush_shoppers()
        return 0

    cdef int flush_shoppers(self) except -1:
        """Add the waiting shoppers to the pane's coupons."""
        cdef array coupons = self.pane.coupons
        extend_buffer(coupons, <char*> self.waiting, self.waiting_count)
        self.waiting_count = 0
        if len(coupons) >= COUPONS:
            self.pane.shoppers()
        return 0


cdef inline int add(list row, Py_ssize_t at, int64_t more) except -1:
    if more:
        row[at] = row[at] + more
    return 0


cdef inline int add3(list row, Py_ssize_t at, Cell* cell) except -1:
    """Add a cell to three columns of a row: orders, units, sales."""
    add(row, at, cell.orders)
    add(row, at + 1, cell.units)
    add(row, at + 2, cell.sales)
    return 0


cdef class RowParts:
    """What the loop adds to of a LabelRow."""

    cdef object row
    cdef list numbers
    cdef tuple columns
    cdef dict placed
    cdef Py_ssize_t uncertain       # column of what is not known of the sets without room; 0: not full yet

    def __init__(self, row):
        self.row = row
        self.uncertain = 0
        self.numbers = row.numbers
        self.columns = row.columns
        self.placed = row.placed

    cdef inline Py_ssize_t column(self, int dimension, object label) except -1:
        """First column of a label, which has one from now on, or that of MORE."""
        cdef object at = (<dict> self.columns[dimension]).get(label)
        if at is None:
            at = self.row.column(dimension, label)
        return at

    cdef int add_set(self, object names, int64_t orders, int ledger) except -1:
        """Count orders that name these categories, all of which were added before."""
        cdef PyObject* held = PyDict_GetItemWithError(self.placed, names)
        cdef dict columns
        cdef Py_ssize_t missing
        if held != NULL:
            self.placed[names] = <object> held + orders
            return 0
        columns = <dict> self.columns[CATEGORY]
        if beyond in columns:
            # The cells of labels that have no column of their own count an order once each.
            missing = sum([label not in columns for label in names])
            if missing > 1:
                add(self.numbers, <Py_ssize_t> columns[beyond] + ledger, -orders * (missing - 1))
        else:
            if not self.uncertain and len(self.placed) + len(self.row.sets) >= label_rows.SETS_MAX:
                self.uncertain = self.row.book.uncertain
            if self.uncertain:
                add(self.numbers, self.uncertain, orders * (PySet_GET_SIZE(names) - 1))
                return 0
        self.row.note_placed(names, orders)
        return 0


cdef class PlainOrders:
    """Folds plain order events into the panes of one ``SourceState``."""

    cdef object source
    cdef list markets
    cdef MarketSlot last
    cdef RawLabels labels
    cdef LabelSets sets
    cdef list panes
    cdef Cell cells[CELL_SLOTS]
    cdef int used[CELLS_MAX + 200]
    cdef int used_count
    cdef int64_t pane_ms
    cdef int64_t grace_ms
    cdef int64_t ahead_ms

    def __init__(self, source):
        cdef MarketSlot slot
        self.source = source
        self.pane_ms = source.admission.pane_ms
        self.grace_ms = source.admission.grace_ms
        self.ahead_ms = source.admission.ahead_ms
        self.labels = None
        self.sets = LabelSets()
        self.panes = []
        self.markets = []
        self.last = None
        self.used_count = 0
        memset(self.cells, 0, sizeof(self.cells))
        for code, state in source.markets.items():
            slot = MarketSlot()
            slot.code = code.encode()
            slot.currency = state.currency.encode()
            slot.state = state
            slot.loaded = False
            self.markets.append(slot)
            if self.labels is None:
                self.labels = RawLabels(state.labels)

    cdef MarketSlot market_of(self, Text code):
        cdef MarketSlot slot = self.last
        if slot is not None and slot.loaded and same(
            code, PyBytes_AS_STRING(slot.code), PyBytes_GET_SIZE(slot.code)
        ):
            return slot
        for slot in self.markets:
            if same(code, PyBytes_AS_STRING(slot.code), PyBytes_GET_SIZE(slot.code)):
                if not slot.loaded:
                    slot.load()
                self.last = slot
                return slot
        return None

    cdef int pane_of(self, MarketSlot market, int64_t start_ms) except -2:
        """Number of the market's open pane, or -1 when there is none."""
        cdef PaneSlot slot
        cdef int i
        if market.pane >= 0 and (<PaneSlot> self.panes[market.pane]).start_ms == start_ms:
            return market.pane
        for i in range(len(self.panes)):
            slot = <PaneSlot> self.panes[i]
            if slot.start_ms == start_ms and slot.market is market:
                market.pane = i
                return i
        pane = market.panes.get(start_ms)
        if pane is None or len(self.panes) >= PANES_MAX:
            return -1
        slot = PaneSlot()
        slot.pane = pane
        slot.row = RowParts(pane.row)
        slot.day = None
        slot.ids = pane.ids
        slot.fresh = []
        slot.waiting_count = 0
        slot.market = market
        slot.start_ms = start_ms
        slot.late_from_ms = pane.late_from_ms
        self.panes.append(slot)
        market.pane = <int> len(self.panes) - 1
        return market.pane

    cdef inline bint is_doubted(self, MarketSlot market, int64_t arrived_ms) noexcept:
        """Whether the watermark may not follow the arrival at once, as Admission.arrive has it."""
        cdef int64_t watermark_ms = market.watermark_ms
        return (
            watermark_ms > NEVER
            and arrived_ms > watermark_ms
            # Unsigned: a producer may write any number there.
            and <uint64_t> arrived_ms - <uint64_t> watermark_ms > <uint64_t> self.ahead_ms
        )

    cdef inline void add_order(self, Cell* cell, int64_t units, int64_t sales) noexcept:
        cell.orders += 1
        cell.units += units
        cell.sales += sales

    cdef inline Cell* cell(self, int kind, int pane, int label) noexcept:
        # The top bit keeps a key from being zero, which marks a free slot.
        cdef uint64_t key = (
            (<uint64_t> 1 << 40) | (<uint64_t> kind << 24) | (<uint64_t> pane << 12) | <uint64_t> label
        )
        cdef uint64_t at = (key * <uint64_t> 0x9E3779B97F4A7C15) >> 51
        while self.cells[at].key != key:
            if self.cells[at].key == 0:
                self.cells[at].key = key
                self.used[self.used_count] = <int> at
                self.used_count += 1
                break
            at = (at + 1) & (CELL_SLOTS - 1)
        return &self.cells[at]

    cdef RowParts day_of(self, PaneSlot slot):
        """The pane's own day, whose orders are all that this half folds.

        It is open: the grace of a pane is a day at most, that of a day one at least.
        """
        cdef object state, day
        if slot.day is None:
            state = slot.market.state
            day = state.days.get(slot.pane.day) or state.new_day(slot.pane.day)
            if day.flags != BOTH:
                self.source.touch_day(state, day)
            slot.day = RowParts(day.row)
        return slot.day

    cdef int settle(self) except -1:
        """Add the sums of the cells to the panes and their days, and empty the cells."""
        cdef Cell* cell
        cdef PaneSlot slot
        cdef RowParts row, day
        cdef uint64_t label
        cdef int i, kind
        cdef list texts = self.labels.texts
        for slot in self.panes:
            if slot.fresh:
                slot.pane.order.fromlist(slot.fresh)
                slot.fresh = []
            if slot.waiting_count:
                slot.flush_shoppers()
        for i in range(self.used_count):
            cell = &self.cells[self.used[i]]
            slot = <PaneSlot> self.panes[(cell.key >> 12) & 0xFF]
            row = slot.row
            label = cell.key & 0xFFF
            kind = <int> (cell.key >> 24) & 0xFF
            if kind == SHOPPERS:
                add(row.numbers, SHOPPER_ORDERS, cell.orders)
                add(row.numbers, NEW_KNOWN, cell.units)
                add(row.numbers, NEW_SHOPPERS, cell.sales)
            else:
                day = slot.day
                if day is None:
                    day = self.day_of(slot)
                if kind == WHOLE:
                    if slot.pane.flags != BOTH:
                        self.source.touch_pane(slot.market.state, slot.pane)
                    add3(row.numbers, ORDERS, cell)
                    add3(day.numbers, PLACED_AT, cell)
                elif kind == SET:
                    row.add_set(self.sets.names[label], cell.orders, 0)
                    day.add_set(self.sets.names[label], cell.orders, PLACED_AT)
                else:
                    add3(row.numbers, row.column(kind, texts[label]), cell)
                    if kind == METHOD:
                        add(row.numbers, CHOSEN, cell.orders)
                    if kind == CATEGORY or kind == METHOD:
                        add3(day.numbers, day.column(kind, texts[label]) + PLACED_AT, cell)
                    else:
                        add(day.numbers, day.column(kind, texts[label]), cell.orders)
            cell.key = 0
            cell.orders = cell.units = cell.sales = 0
        self.used_count = 0
        return 0

    cdef int leave(self) except -1:
        """Write everything back; of this call only the labels' numbers are kept."""
        cdef MarketSlot market
        self.settle()
        self.panes.clear()
        for market in self.markets:
            if market.loaded:
                market.state.watermark_ms = market.watermark_ms
                market.panes = None
                market.loaded = False
        if self.labels.count > LABELS_MAX // 2 or self.sets.count > LABELS_MAX // 2:
            self.labels.clear()
            self.sets.clear()
        return 0

    def fold_plain(self, chunk, Py_ssize_t start, Py_ssize_t stop, folded):
        """Fold records from ``start`` up to the first that is not plain; return where it stopped."""
        cdef Order order
        cdef Reading reading
        cdef Line* line
        cdef MarketSlot market
        cdef PaneSlot slot
        cdef Cell* cell
        cdef Py_ssize_t position = start
        cdef int64_t arrived_ms, occurred_ms, units, sales, volume
        cdef int64_t accepted = 0, late = 0, duplicates = 0
        cdef int pane, method, region, channel, i
        cdef int label[LINES_MAX]
        cdef bint first[LINES_MAX]      # whether the label is the first of its kind in the order
        cdef int named[LINES_MAX]       # the labels of the order, sorted
        cdef int names, label_set
        cdef const uint8_t* raw
        cdef list values = chunk.values if type(chunk.values) is list else list(chunk.values)
        cdef list timestamps = (
            chunk.timestamps_ms if type(chunk.timestamps_ms) is list else list(chunk.timestamps_ms)
        )
        cdef const uint8_t[::1] doubtful = chunk.doubtful
        cdef bint doubting = chunk.doubtful is not None
        if self.source.volume > VOLUME_MAX:
            return start
        volume = self.source.volume
        while position < stop:
            value = values[position]
            if not PyBytes_CheckExact(value) or PyBytes_GET_SIZE(value) > RECORD_MAX:
                break
            raw = <const uint8_t*> PyBytes_AS_STRING(value)
            if not read_order(raw, raw + PyBytes_GET_SIZE(value), &order, &reading):
                break
            occurred_ms = instant(order.occurred_at)
            if occurred_ms < 0:
                break
            market = self.market_of(order.market)
            if market is None or not same(
                order.currency, PyBytes_AS_STRING(market.currency), PyBytes_GET_SIZE(market.currency)
            ):
                break
            arrived_ms = timestamps[position]
            if not 0 <= arrived_ms < STAMPS_END_MS:
                break
            if doubting and doubtful[position] and self.is_doubted(market, arrived_ms):
                break
            if market.doubts:
                market.state.doubts = []
                market.doubts = False
            if arrived_ms > market.watermark_ms:
                market.watermark_ms = arrived_ms
                if arrived_ms >= market.next_close_ms:
                    # Closing may remove panes, and their days, that the cells still add to.
                    state = market.state
                    self.leave()
                    self.source.close(state)
                    market.load()
            if occurred_ms > arrived_ms + self.ahead_ms:
                break
            if market.watermark_ms - occurred_ms > self.grace_ms:
                break
            pane = self.pane_of(market, occurred_ms - occurred_ms % self.pane_ms)
            if pane < 0:
                break
            method = self.labels.number(order.method)
            region = self.labels.number(order.region)
            channel = self.labels.number(order.channel)
            if method < 0 or region < 0 or channel < 0:
                break
            units = sales = 0
            names = label_set = 0
            for i in range(order.lines):
                line = &order.line[i]
                label[i] = self.labels.number(line.category)
                if label[i] < 0:
                    break
                first[i] = distinct(named, &names, label[i])
                units += line.quantity
                sales += line.quantity * line.price
            else:
                i = order.lines
            if units > ORDER_MAX or sales > ORDER_MAX:
                break
            if i < order.lines or volume + units + sales > VOLUME_MAX:
                break
            if names > 1:
                label_set = self.sets.number(named, names, self.labels.texts)
                if label_set < 0:
                    break
            if market.refused != NULL and order.order_id.at != NULL and (
                market.is_refused(order.order_id)
            ):
                break
            if self.used_count > CELLS_MAX:
                self.settle()
            slot = <PaneSlot> self.panes[pane]
            event_hash = digest(
                PyBytes_FromStringAndSize(<const char*> order.event_id.at, order.event_id.size), seed
            )
            if slot.ids is None:
                if slot.pane.seen(event_hash):
                    duplicates += 1
                    position += 1
                    slot.ids = slot.pane.ids
                    continue
                slot.ids = slot.pane.ids
                slot.pane.order.append(event_hash)
                if slot.ids is not None:
                    PySet_Add(slot.ids, event_hash)
            elif PySet_Contains(slot.ids, event_hash):
                duplicates += 1
                position += 1
                continue
            else:
                PySet_Add(slot.ids, event_hash)
                slot.fresh.append(event_hash)
            volume += units + sales
            for i in range(order.lines):
                line = &order.line[i]
                cell = self.cell(CATEGORY, pane, label[i])
                cell.units += line.quantity
                cell.sales += line.quantity * line.price
                cell.orders += first[i]
            if label_set:
                self.cell(SET, pane, label_set).orders += 1
            self.add_order(self.cell(WHOLE, pane, 0), units, sales)
            if order.method.at != NULL:
                self.add_order(self.cell(METHOD, pane, method), units, sales)
            self.add_order(self.cell(REGION, pane, region), units, sales)
            self.add_order(self.cell(CHANNEL, pane, channel), units, sales)
            cell = self.cell(SHOPPERS, pane, 0)
            if order.shopper.at != NULL:
                slot.add_shopper(order.shopper)
                cell.orders += 1
            cell.units += order.new_shopper >= 0
            cell.sales += order.new_shopper > 0
            if slot.late_from_ms <= market.watermark_ms:
                late += 1
            else:
                accepted += 1
            position += 1
        self.source.volume = volume
        self.leave()
        self.source.count(folded, accepted, late, duplicates, 0)
        return position
