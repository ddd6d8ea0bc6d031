"""All that goes to Kafka of a publication, and what a reader of the values makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streams.flow.publication import Publication
from streams.index.values import Fence, Value
from streams.publish.journal import (
    FENCE,
    Record,
    decode_value,
    fence_record,
    journal_records,
    value_records,
    version_of,
)


def publication_records(publication: Publication, writer: str) -> list[Record]:
    """Records in the order in which a worker sends them, the fence record last."""
    return [
        *journal_records(publication),
        *value_records(publication),
        fence_record(publication, writer),
    ]


def newest_values(records: Iterable[Any]) -> dict[str, Value]:
    """Of each key the value of the highest version in the records of ``ecindex.values``."""
    versions: dict[str, Fence] = {}
    values: dict[str, Value | None] = {}
    for record in records:
        key, version = record.key.decode(), version_of(record.headers)
        assert version is not None, key
        if key.split("|")[1] != FENCE and version >= versions.get(key, version):
            versions[key] = version
            values[key] = None if record.value is None else decode_value(record.value)
    return {key: value for key, value in values.items() if value is not None}
