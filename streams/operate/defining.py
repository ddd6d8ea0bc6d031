"""``definitions``: shows, compares, applies and undoes documents that say which label is whose."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from streams.clock import now_ms
from streams.console.errors import OperationError, unknown_market
from streams.flow.defined_market import too_many_cells
from streams.flow.definitions_book import MarketDefinitions
from streams.index.definition_changes import MemberChange, changes
from streams.index.definition_records import DefinitionsError, definitions_record
from streams.index.definitions import METHODOLOGY_VERSION, Definitions, definitions_of
from streams.index.methodology import Market, Methodology
from streams.index.panes import rfc3339
from streams.operate.definitions_file import DefinitionsFile, as_definitions_toml
from streams.operate.label_weights import WEIGHED_DAYS, read_label_counts
from streams.operate.seeding import send_to
from streams.records.definitions_log import DefinitionsLog, read_definitions
from streams.records.kafka_logs import Logs, open_logs
from streams.records.kafka_topics import existing_partitions
from streams.settings import Settings, load_methodology


class DefinitionsApplied(NamedTuple):
    """The version that is in force now."""

    market: str
    version: int
    base: int


class DefinitionsDiff(NamedTuple):
    """What a document would change. ``orders``: placed in the days that were weighed."""

    market: str
    version: int
    """Version that it is compared with, which is in force."""
    days: int
    orders: int
    changes: list[MemberChange]


class DefinitionsOf(NamedTuple):
    """One market with all that is known of its definitions."""

    market: Market
    methodology: Methodology
    log: DefinitionsLog
    logs: Logs

    @property
    def version(self) -> int:
        """Version in force."""
        return self.log.of(self.market.code).version

    def document(self, version: int) -> Definitions:
        """Return a version's document. Raises OperationError."""
        found = self.log.document(self.market, version)
        if found is None:
            code = self.market.code
            raise OperationError(
                f"{code} has no version {version}, or none any more: run `ecindex definitions history "
                f"{code}`"
            )
        return found


@asynccontextmanager
async def opened(settings: Settings, code: str) -> AsyncIterator[DefinitionsOf]:
    """Read the topic for one market. Raises OperationError, SettingsError."""
    methodology = load_methodology(settings)
    if code not in methodology.markets:
        raise unknown_market(code, methodology.markets)
    topic = settings.topics.definitions
    if topic not in await existing_partitions(settings.kafka):
        raise OperationError(f"no topic {topic}: run `ecindex topics create`")
    async with open_logs(settings.kafka) as logs:
        log = await read_definitions(logs, topic, methodology.markets, code)
        yield DefinitionsOf(methodology.markets[code], methodology, log, logs)


async def show_definitions(settings: Settings, code: str, version: int | None) -> str:
    """Return a version as a TOML file; None: the one in force."""
    async with opened(settings, code) as found:
        shown = found.version if version is None else version
        return as_definitions_toml(found.document(shown), shown, _comment(found, shown))


def _comment(found: DefinitionsOf, version: int) -> str:
    if version == METHODOLOGY_VERSION:
        return f"{found.market.code}: the methodology's definitions"
    applied = found.log.of(found.market.code).applied
    (change,) = [each for each in applied if each.version == version]
    return f"{found.market.code}, by {change.by} at {rfc3339(change.at_ms)}: {change.reason}"


async def diff_definitions(settings: Settings, file: DefinitionsFile) -> DefinitionsDiff:
    """Compare a file with the version in force, by the orders of the last 28 days."""
    code = file.document.market
    async with opened(settings, code) as found:
        counts = await read_label_counts(
            settings, found.logs, found.methodology, found.market, now_ms()
        )
        before = found.document(found.version)
        changed = changes(found.market, before, file.document, counts)
        return DefinitionsDiff(code, found.version, WEIGHED_DAYS, counts.orders, changed)


async def apply_definitions(
    settings: Settings, file: DefinitionsFile, by: str, reason: str
) -> DefinitionsApplied:
    """Put a file's document into force. Raises OperationError, also when another came first."""
    code = file.document.market
    async with opened(settings, code) as found:
        _refuse_same(found, file.document)
        if file.base is None:
            raise OperationError(
                f"the file does not say which version it builds upon: begin with `ecindex definitions "
                f"show {code}`, or write `version = {found.version}` if you have seen that one"
            )
        if file.base != found.version:
            raise OperationError(
                f"the file builds upon version {file.base} of {code}, and {found.version} is in force "
                f"({_comment(found, found.version)}): see `ecindex definitions diff`, take over what "
                f"others changed, and write `version = {found.version}`"
            )
        return await _apply(settings, found, file.document, by, reason)


async def undo_definitions(
    settings: Settings, code: str, by: str, reason: str
) -> DefinitionsApplied:
    """Put the document before the one in force into force again, as a version of its own."""
    async with opened(settings, code) as found:
        applied = found.log.of(code).applied
        if not applied:
            raise OperationError(
                f"{code} has the methodology's definitions: nothing is to be undone"
            )
        before = found.document(applied[-1].base)
        _refuse_same(found, before)
        return await _apply(settings, found, before, by, reason)


def _refuse_same(found: DefinitionsOf, document: Definitions) -> None:
    if document == found.document(found.version):
        raise OperationError(
            f"{document.market}: version {found.version} is this document: nothing changes"
        )


async def _apply(
    settings: Settings, found: DefinitionsOf, document: Definitions, by: str, reason: str
) -> DefinitionsApplied:
    code, version, topic = found.market.code, found.version, settings.topics.definitions
    _check_cells(found, document)
    try:
        record = definitions_record(
            document, base=version, read_to=found.log.end, by=by, reason=reason, at_ms=now_ms(),
            nonce=secrets.token_hex(8),
        )  # fmt: skip
    except DefinitionsError as error:
        raise OperationError(f"{code}: {error}") from error
    await send_to(settings, topic, [record])
    log = await read_definitions(found.logs, topic, found.methodology.markets, code)
    market, (key, _) = log.of(code), record
    mine = [each for each in market.applied if each.key == key]
    if not mine:
        raise OperationError(f"{code}: nothing is applied: {_who_won(market, version)}")
    if outdated := [key for each in log.book.markets.values() for key in each.outdated(now_ms())]:
        await send_to(settings, topic, [(key, None) for key in outdated])
    return DefinitionsApplied(code, mine[0].version, version)


def _who_won(market: MarketDefinitions, base: int) -> str:
    first = next((each for each in market.applied if each.base == base), None)
    other = "another" if first is None else f"{first.version}, by {first.by} ({first.reason}),"
    return f"version {other} came first; see `ecindex definitions diff`, then apply again"


def _check_cells(found: DefinitionsOf, document: Definitions) -> None:
    """Raise OperationError when all markets together would have more members than are published."""
    others = (
        found.log.of(code).document or definitions_of(market)
        for code, market in found.methodology.markets.items()
        if code != found.market.code
    )
    if mistake := too_many_cells([document, *others]):
        raise OperationError(mistake)


class HistoryLine(msgspec.Struct, frozen=True):
    """One record of the topic. ``state``: `in force`, `replaced`, `lost` or `refused`."""

    version: int
    state: str
    base: int | None = None
    by: str = ""
    at: str = ""
    reason: str = ""


async def definitions_history(settings: Settings, code: str) -> list[HistoryLine]:
    """Return every record of a market, in the order of the log."""
    async with opened(settings, code) as found:
        market = found.log.of(code)
    lines = [
        HistoryLine(
            each.version,
            state if each.version != market.version else "in force",
            each.base,
            each.by,
            rfc3339(each.at_ms),
            each.reason,
        )
        for state, of in (("replaced", market.applied), ("lost", market.lost))
        for each in of
    ]
    lines += [HistoryLine(each.version, "refused", reason=each.reason) for each in market.troubles]
    return sorted(lines, key=lambda line: line.version)
