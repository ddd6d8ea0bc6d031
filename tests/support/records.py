"""The Kafka records of a publication, and the values that a reader makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streams.flow.publication import Publication
from streams.index.values import Fence, Value
from streams.publish.journal import (
    FENCE,
    MEMBERS,
    Record,
    decode_value,
    fence_record,
    journal_records,
    value_records,
    version_of,
)

VALUES_TOPIC, JOURNAL_TOPIC = "ecindex.values", "ecindex.journal"


def publication_records(publication: Publication, writer: str) -> list[Record]:
    """Records of a publication in the order in which a worker sends them: the fence record last."""
    return [
        *journal_records(publication, JOURNAL_TOPIC),
        *value_records(publication, VALUES_TOPIC),
        fence_record(publication, writer, VALUES_TOPIC),
    ]


def newest_values(records: Iterable[Any]) -> dict[str, Value]:
    """The value of the highest version of each key in the records of ``ecindex.values``."""
    versions: dict[str, Fence] = {}
    values: dict[str, Value | None] = {}
    for record in records:
        key, version = record.key.decode(), version_of(record.headers)
        assert version is not None, key
        if key.split("|")[1] not in (FENCE, MEMBERS) and version.follows(
            versions.get(key, version)
        ):
            versions[key] = version
            values[key] = None if record.value is None else decode_value(record.value)
    return {key: value for key, value in values.items() if value is not None}
