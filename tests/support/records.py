"""All that goes to Kafka of a publication."""

from __future__ import annotations

from streams.flow.publication import Publication
from streams.publish.journal import Record, fence_record, journal_records, value_records


def publication_records(publication: Publication, writer: str) -> list[Record]:
    """Records in the order in which a worker sends them, the fence record last."""
    return [
        *journal_records(publication),
        *value_records(publication),
        fence_record(publication, writer),
    ]
