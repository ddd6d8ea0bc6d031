"""What a worker's metrics say of definitions."""

from __future__ import annotations

from types import SimpleNamespace

from streams.flow.definitions_book import DefinitionsBook, DefinitionsTrouble
from streams.index.definitions import Definitions
from streams.publish.metrics import Metrics
from streams.worker.definitions_metrics import show_definitions


def test_versions_refused_records_and_what_cannot_be_applied_are_shown_and_dropped_with_a_market():
    metrics = Metrics(markets=["PK", "BD"], version="0", edition=1, methodology="0")
    book = DefinitionsBook(["PK", "BD"])
    book.markets["PK"].take_document(Definitions("PK"), 7)
    book.markets["BD"].troubles.append(DefinitionsTrouble(8, "no JSON"))
    owned = SimpleNamespace(markets=["PK"], unapplied={"PK": DefinitionsTrouble(7, "too many")})

    def shown():
        return {
            (metric, market): found
            for metric in ("version", "unapplied_version", "refused_records")
            for market in ("PK", "BD")
            if (
                found := metrics.registry.get_sample_value(
                    f"ecindex_definitions_{metric}", {"market": market}
                )
            )
            is not None
        }

    show_definitions(metrics, book, [owned])
    assert shown() == {
        ("version", "PK"): 7, ("version", "BD"): 0, ("unapplied_version", "PK"): 7,
        ("refused_records", "PK"): 0, ("refused_records", "BD"): 1,
    }  # fmt: skip
    owned.unapplied.clear()
    show_definitions(metrics, book, [owned])
    assert shown()["unapplied_version", "PK"] == 0
    metrics.drop_market("PK")
    assert ("unapplied_version", "PK") not in shown()
