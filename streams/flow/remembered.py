"""What level 1 remembers of single orders, so that each correction counts once in the day book.

A note is a few 64-bit words. Notes are kept by the day of their arrival, append-only, and go into
checkpoints like the ids of a pane: the words added since the record before. Recovery may find the
words of a day in another order, so nothing here depends on their order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from streams.flow.ids import ID_SEED
from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.label_rows import CATEGORY, METHOD
from streams.index.panes import DAY_MS

REMEMBERED_DAYS = 7
"""Full days that a note is kept after the UTC day of its arrival."""
CORRECTIONS_MAX = 500_000
"""Cancels and refunds that a source partition remembers; beyond it they count, unremembered."""

LATE_MAX = 500_000
"""Late orders that a source partition remembers; beyond it they count, unremembered."""

REFUSED_MAX = 500_000
"""Refused placements that a source partition remembers; beyond it they are unremembered."""

CANCELLED_NOTE, REFUNDED_NOTE, LATE_NOTE, EARLY_NOTE, REFUSED_NOTE, MENDED_NOTE = 1, 2, 3, 4, 5, 6
"""Kinds of notes. Late: the order came later than the grace. Early: the log holds the order although
it was placed before the log begins. Refused: its placement counts nowhere. Mended: the order was placed
again after that, and counts."""
COUNTED_NOTES = frozenset({LATE_NOTE, EARLY_NOTE, MENDED_NOTE})
"""Kinds that say: the log holds the order."""
_KEYED = frozenset({REFUNDED_NOTE, LATE_NOTE, REFUSED_NOTE})
_CORRECTIONS = frozenset({CANCELLED_NOTE, REFUNDED_NOTE})
_WAITS = 1 << 6
REFUSED_BITS = 20
"""Size of each filter of refused orders, as a power of two in bits: 128 KiB."""
_FIRST_FACTOR, _LAST_FACTOR, _WORD_MAX = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 2**64 - 1
_DAY_BIAS = 2**31
_ITEM_WORDS = 4


class Item(NamedTuple):
    """What a correction takes of one article: its lines of one ``sku`` and category together."""

    sku: int
    """Hash of the ``sku``; 0: the lines name none."""
    category: int
    """Hash of the label of the category."""
    named: bool
    """Whether the lines name a category."""
    units: int
    sales: int

    def is_like(self, other: Item) -> bool:
        """Whether both may be the same article, by all that both of them name."""
        return (self.sku == other.sku or not (self.sku and other.sku)) and (
            self.category == other.category or not (self.named and other.named)
        )


Place = tuple[int, int]
"""(dimension, hash of a label) of a place of a day's row; ``WHOLE`` is the market."""
WHOLE: Place = (-1, 0)


class Note(NamedTuple):
    """One fact about an order."""

    order: int
    """Hash of the order's id."""
    kind: int
    day: int
    """Local day on which it counted."""
    key: int = 0
    """Of a refund: which one it is, see ``refund_key``. Of a late order: hash of its event's id.
    Of a refused one: ``quick_hash`` of its id."""
    digest: int = 0
    """Of a refund: hash of its lines. It is the key too where the refund names no ``refund_id``."""
    method: int = 0
    """Of a correction: hash of the label of the payment method; 0: it names none."""
    items: tuple[Item, ...] = ()
    """Of a correction: what it takes."""
    waits: bool = False
    """Of a correction: whether it came while its order was refused, and counts from its mending on."""

    @property
    def places(self) -> set[Place]:
        """The places that a correction touches."""
        found = {WHOLE, *((CATEGORY, item.category) for item in self.items)}
        return found | {(METHOD, self.method)} if self.method else found

    def words(self) -> list[int]:
        """Packed form. A cancel of one article takes 56 bytes, a refund 72."""
        found = [self.order, 0]
        if self.kind in _KEYED:
            found.append(self.key)
        if self.kind == REFUNDED_NOTE:
            found.append(self.digest)
        if self.kind in _CORRECTIONS:
            found.append(self.method)
        for item in self.items:
            found += [item.sku, item.category << 1 | item.named, item.units, item.sales]
        waits = _WAITS * self.waits
        found[1] = self.kind | waits | len(found) << 8 | (self.day + _DAY_BIAS) << 32
        return found


def _kind(head: int) -> int:
    return head & (_WAITS - 1)


def _length(head: int) -> int:
    return head >> 8 & 0xFF_FFFF


def read_note(words: array[int], start: int) -> Note:
    """Note whose packed form begins at ``start``."""
    order, head = words[start], words[start + 1]
    kind, end = _kind(head), start + _length(head)
    at, key, digest, method = start + 2, 0, 0, 0
    if kind in _KEYED:
        key, at = words[at], at + 1
    if kind == REFUNDED_NOTE:
        digest, at = words[at], at + 1
    if kind in _CORRECTIONS:
        method, at = words[at], at + 1
    items = tuple(
        Item(
            words[each],
            words[each + 1] >> 1,
            bool(words[each + 1] & 1),
            *words[each + 2 : each + 4],
        )
        for each in range(at, end, _ITEM_WORDS)
    )
    day = (head >> 32) - _DAY_BIAS
    return Note(order, kind, day, key, digest, method, items, bool(head & _WAITS))


def note_starts(words: array[int]) -> Iterator[int]:
    """Where each note begins."""
    start = 0
    while start < len(words):
        yield start
        start += _length(words[start + 1])


def hash_of_label(label: str) -> int:
    """Hash by which a correction remembers a label: of 63 bits, and never 0."""
    return xxh3_64_intdigest(label.encode(), ID_SEED) >> 1 or 1


def hash_of(text: str) -> int:
    """Hash by which an order, an event or an article is remembered.

    Broken text is hashed as it stands: an article's ``sku`` may be cut in the middle of a letter.
    """
    return xxh3_64_intdigest(text.encode(errors="surrogatepass"), ID_SEED)


def quick_hash(order_id: str) -> int:
    """Hash of the first and the last eight bytes of an id: what the compiled half can afford for each.

    Of 20 bits. plain_orders.pyx has a copy of it.
    """
    raw = order_id.encode()
    first = int.from_bytes(raw[:8].ljust(8, b"\0"), "little")
    last = int.from_bytes(raw[-8:].ljust(8, b"\0"), "little")
    return ((first * _FIRST_FACTOR ^ last * _LAST_FACTOR) & _WORD_MAX) >> (64 - REFUSED_BITS)


def key_of(event: OrderEvent | PaymentEvent) -> str:
    """Text by which an order is known; without an ``order_id``, by its event."""
    return event.order_id or f"event {event.event_id}"


def refund_key(event: OrderEvent) -> int:
    """Hash that tells two refunds of one order apart: of ``refund_id``, else of the lines."""
    return lines_digest(event) if event.refund_id is None else hash_of(f"id {event.refund_id}")


def lines_digest(event: OrderEvent) -> int:
    """Hash of the lines, in whatever order they come."""
    lines = sorted(
        # Not repr: what it escapes depends on Python's version, and a new owner may have another.
        ascii((line.sku, line.category, line.quantity, line.unit_price_minor))
        for line in event.lines
    )
    return hash_of("\n".join(lines))


class Remembered:
    """Notes that arrived on one UTC day, of one source partition and market."""

    __slots__ = ("_hashes", "_starts", "arrived_day", "kinds", "order", "saved")

    def __init__(self, arrived_day: int) -> None:
        self.arrived_day = arrived_day
        self.order = array("Q")
        """The words of the notes, in the order of the log."""
        self.saved = 0
        """How many of ``order`` are in a checkpoint record already."""
        self.kinds: Counter[int] = Counter()
        """Number of notes by kind."""
        self._hashes: array[int] | None = array("Q")
        """Hashes of the orders, sorted; None until somebody asks after ``extend``."""
        self._starts = array("L")

    def add(self, note: Note) -> int:
        """Remember a note; return the number of its words."""
        words, start = note.words(), len(self.order)
        self.order.extend(words)
        if self._hashes is not None:
            at = bisect_right(self._hashes, note.order)
            self._hashes.insert(at, note.order)
            self._starts.insert(at, start)
        self.kinds[note.kind] += 1
        return len(words)

    def extend(self, words: array[int]) -> Counter[int]:
        """Take over notes of a checkpoint; return their number by kind."""
        found = Counter(_kind(words[start + 1]) for start in note_starts(words))
        self.order.extend(words)
        self.saved = len(self.order)
        self.kinds += found
        self._hashes = None
        return found

    def of(self, order: int) -> Iterator[Note]:
        """Notes of one order."""
        hashes = self._sorted()
        for at in range(bisect_left(hashes, order), len(hashes)):
            if hashes[at] != order:
                return
            yield read_note(self.order, self._starts[at])

    def refused(self) -> Iterator[Note]:
        """Notes of refused orders."""
        for start in note_starts(self.order) if self.kinds[REFUSED_NOTE] else ():
            if _kind(self.order[start + 1]) == REFUSED_NOTE:
                yield read_note(self.order, start)

    def _sorted(self) -> array[int]:
        if self._hashes is None:
            starts = sorted(note_starts(self.order), key=self.order.__getitem__)
            self._starts = array("L", starts)
            self._hashes = array("Q", [self.order[start] for start in starts])
        return self._hashes


def closes_ms(arrived_day: int) -> int:
    """Arrival watermark (ms) from which on the notes of an arrival day are forgotten."""
    return (arrived_day + 1 + REMEMBERED_DAYS) * DAY_MS


def notes_of(order: int, remembered: Iterable[Remembered]) -> list[Note]:
    """Every note of one order."""
    return [note for each in remembered for note in each.of(order)]


def corrections_of(notes: list[Note]) -> tuple[list[Note], list[Note]]:
    """Return the corrections among the notes of one order: those that count, and those that wait.

    Those that waited count once the order was mended.
    """
    found = [note for note in notes if note.kind in _CORRECTIONS]
    counted = [note for note in found if not note.waits]
    waiting = [note for note in found if note.waits]
    if all(note.kind != MENDED_NOTE for note in notes):
        return counted, waiting
    return [*counted, *(each._replace(waits=False) for each in waiting)], []
