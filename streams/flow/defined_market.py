"""The market that a document in force makes, or why it can make none.

Workers, `definitions apply` and `ecindex doctor` ask the same question, and the log alone answers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.flow.definitions_book import MarketDefinitions
from streams.index.definitions import Definitions, definitions_of, market_with
from streams.index.identifiers import CELLS_MAX
from streams.index.methodology import Market, Methodology


def defined_market(
    methodology: Methodology, held: Mapping[str, MarketDefinitions], code: str
) -> Market:
    """Return a market by its document in force. Raises ValueError where it cannot be applied.

    ``held``: what ``ecindex.definitions`` has of each market.
    """
    own, declared = held[code], methodology.markets[code]
    if own.document is None:
        return declared
    others = (
        (None if (of := held.get(other)) is None else of.document_before(own.version))
        or definitions_of(market)
        for other, market in methodology.markets.items()
        if other != code
    )
    if mistake := too_many_cells([own.document, *others]):
        raise ValueError(mistake)
    touched = own.touched.versions(definitions_of(declared))
    return market_with(declared, own.document, own.version, touched)


def why_not_applied(
    methodology: Methodology, held: Mapping[str, MarketDefinitions], code: str
) -> str:
    """Return why no worker can apply a market's document in force; empty if they can."""
    try:
        defined_market(methodology, held, code)
    except (ValueError, LookupError) as error:
        return str(error)
    return ""


def too_many_cells(documents: Iterable[Definitions]) -> str:
    """Say that these, one of each market, have more members than are published; empty if not."""
    cells = sum(len(of) for each in documents for _, of in each.by_dimension())
    if cells <= CELLS_MAX:
        return ""
    return (
        f"all markets would have {cells} members, at most {CELLS_MAX}: list fewer, or run a second "
        "installation with a topics.prefix of its own"
    )
