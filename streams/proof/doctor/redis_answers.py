"""Asks Redis for all that it holds. Of a Cluster one node may answer while another one is away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.console.errors import OperationError
from streams.index.input_reports import InputNote
from streams.proof.doctor.findings import Finding, Level
from streams.publish.redis_clients import REPLICA_ADVICE
from streams.records.redis_reader import MarketRedis, RedisReader
from streams.records.unreadable import UnreadableRecord

NO_MARKET = ""
"""In place of a market: the list of the markets, and what became of the inputs."""


@dataclass(slots=True)
class RedisRead:
    """What Redis answered."""

    is_replica: bool = False
    notes: list[InputNote] = field(default_factory=list)
    held: dict[str, MarketRedis | None] = field(default_factory=dict)
    """By market; None: it has no keys, or none that can be read."""
    refused: list[UnreadableRecord] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """By market: why its node of a Cluster did not answer."""


async def read_redis(reader: RedisReader, markets: Iterable[str]) -> RedisRead:
    """Read all keys. Raises OperationError when Redis, or no node of a Cluster, answers."""
    read = RedisRead()
    for code in (NO_MARKET, *markets):
        try:
            await (_read_market(reader, code, read) if code else _read_others(reader, read))
        except OperationError as error:
            if not reader.has_nodes:
                raise
            read.failed[code] = str(error)
            failed = error
    if len(read.failed) == len(read.held) + 1 and NO_MARKET in read.failed:
        raise failed
    return read


async def _read_others(reader: RedisReader, read: RedisRead) -> None:
    await reader.ping()
    read.is_replica = await reader.is_replica()
    read.notes = await reader.input_notes()
    read.refused += await reader.refused_of_all()


async def _read_market(reader: RedisReader, code: str, read: RedisRead) -> None:
    read.held[code] = None
    read.held[code] = await reader.read(code)
    read.refused += await reader.refused(code)


def check_answers(where: str, read: RedisRead) -> list[Finding]:
    """Check that every node answers, and that workers can write."""
    if read.is_replica:
        found = "READONLY: it is a replica, which refuses what workers publish"
        return [Finding("redis", Level.WRONG, where, "a master", found, REPLICA_ADVICE)]
    fix = (
        "start the node of the Cluster that holds it, or give its master a replica; the markets of "
        "other nodes go on"
    )
    failed = [
        Finding(
            "redis", Level.WRONG, f"{where} {code or 'the list of markets and the inputs'}",
            "an answer of its node", found, fix, cause="no answer",
        )
        for code, found in read.failed.items()
    ]  # fmt: skip
    return failed or [Finding("redis", Level.OK, where, "an answer", "it answers")]
