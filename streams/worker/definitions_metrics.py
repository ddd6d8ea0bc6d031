"""What the metrics say of definitions: what the topic has, and what this worker makes of it."""

from __future__ import annotations

from collections.abc import Iterable

from streams.flow.compile import PartitionCompile
from streams.flow.definitions_book import DefinitionsBook
from streams.publish.metrics import Metrics


def show_definitions(
    metrics: Metrics, book: DefinitionsBook, owned: Iterable[PartitionCompile]
) -> None:
    """Show the versions that this worker has read, and those that its markets cannot be made of."""
    for code, held in book.markets.items():
        metrics.definitions_version.labels(code).set(held.version)
        metrics.definitions_refused.labels(code).set(len(held.troubles))
    for compiled in owned:
        for code in compiled.markets:
            trouble = compiled.unapplied.get(code)
            metrics.definitions_unapplied.labels(code).set(
                0 if trouble is None else trouble.version
            )
