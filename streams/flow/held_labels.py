"""Labels of merged slots as level 2 holds them, and as they are stored beside the slot's record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from streams.index.formats import msgpack_reader, numbered_decoder, numbered_encoder
from streams.index.label_rows import Book, PackedRow
from streams.index.summed_labels import CountedAs, LabelSum, cut_to, decode_row, encode_row

IN_RECORD_BYTES_MAX = 256 * 1024
"""Labels of a slot that its own record holds. A row of 4,000 members takes up to half a megabyte."""
PART_BYTES = 512 * 1024


class LabelsRecord(msgspec.Struct, array_like=True):
    """Labels of one merged slot. ``rest``: of the rows whose pane is not kept apart."""

    rest: msgspec.Raw
    panes: dict[int, msgspec.Raw]
    cut_by: int | None
    """Version of the definitions that say of whom the labels were that were cut. None: none were."""
    labelled: dict[str, bytes] | None
    """Bits of the rows whose labels are in it. None: of all rows of the slot."""


class LabelsPart(msgspec.Struct, array_like=True):
    """Part of the encoded labels of a slot that has too many of them for one record."""

    part: bytes
    v: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgpack_reader(LabelsRecord)
encode_labels_part = numbered_encoder()
decode_labels_part = numbered_decoder(LabelsPart, "labels of a merged slot")


class HeldLabels:
    """A label sum that is kept encoded, but from the first row that is added to the next record."""

    __slots__ = ("_book", "_encoded", "_sum", "cut_by")

    def __init__(self, book: Book, encoded: bytes = b"", cut_by: int | None = None) -> None:
        self._book = book
        self._encoded = encoded
        self._sum: LabelSum | None = None
        self.cut_by = cut_by

    def add(self, row: bytes) -> None:
        """Add an encoded row, or another sum; to one that is cut, a row that is (``as_cut``)."""
        if self._sum is None:
            if not self._encoded:
                self._encoded = row  # most panes have one row a source partition
                return
            self._sum = LabelSum(self._book)
            self._sum.add(decode_row(self._encoded))
        self._sum.add(decode_row(row))

    def packed(self) -> PackedRow:
        """Return the sum as a row is stored."""
        if self._sum is not None:
            return self._sum.packed()
        return decode_row(self._encoded) if self._encoded else PackedRow([])

    def encoded(self) -> bytes:
        """Return the sum as it is stored, and hold no more than that."""
        if self._sum is not None:
            self._encoded = encode_row(self._sum.packed())
            self._sum = None
        return self._encoded or encode_row(PackedRow([]))

    def cutting(
        self, kept: list[str], rows: Iterable[PackedRow], cut_as: CountedAs, version: int
    ) -> Iterator[int]:
        """Hold the sum of these rows instead, cut; yield after each row how many labels it has.

        ``version``: of the definitions of ``cut_as``.
        """
        total, counted_as = LabelSum(self._book, kept), cut_to(frozenset(kept), cut_as)
        for row in rows:
            total.add(row, counted_as)
            yield len(row.labels)
        self._encoded, self._sum = encode_row(total.packed()), None
        self.cut_by = version

    def as_cut(self, row: bytes, cut_as: CountedAs) -> bytes:
        """Return an encoded row by the labels that this sum keeps. ``cut_as``: of version ``cut_by``."""
        total = LabelSum(self._book)
        total.add(decode_row(row), cut_to(frozenset(self.packed().labels), cut_as))
        return encode_row(total.packed())


def encode_labels(
    labels: HeldLabels, panes: Mapping[int, HeldLabels], labelled: Mapping[str, bytes] | None
) -> bytes:
    """Return the labels of a slot as they are stored."""
    raw = {start: msgspec.Raw(of_pane.encoded()) for start, of_pane in panes.items()}
    own = None if labelled is None else dict(labelled)
    return _encode(LabelsRecord(msgspec.Raw(labels.encoded()), raw, labels.cut_by, own))


def decode_labels(
    encoded: bytes, book: Book
) -> tuple[HeldLabels, dict[int, HeldLabels], dict[str, bytes] | None]:
    """Return the labels of a slot, those of its panes, and the bits of the rows that are in them."""
    record = _decode(encoded)
    panes = {start: HeldLabels(book, bytes(raw)) for start, raw in record.panes.items()}
    return HeldLabels(book, bytes(record.rest), record.cut_by), panes, record.labelled
