"""Whether this worker may be in the group: one that Redis refuses would take markets and not publish.

A wrong password or a missing right concerns this worker; a Redis that does not answer concerns all. So a
worker that cannot publish at its start stays outside while the group has members. One that Redis refuses
later ends, and gives its markets back, while others are in the group. The last one stays: without it
nothing would be folded, and Kafka and Prometheus would get nothing either. Two do not give way at once,
and whoever is outside comes in only when it can publish or nobody is left: nothing goes to and fro.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from streams.clock import monotonic_ms
from streams.publish.redis_health import Trouble
from streams.publish.redis_store import RedisStore
from streams.settings import KafkaSettings
from streams.worker.stops import ExitCode, Fatal, StopSwitch

TROUBLE_AFTER_MS = 5_000
"""Readers call values stale after this long without the publisher. A shorter trouble is none."""
GIVE_WAY_EVERY_MS = 5_000
"""The first of the refused workers gives way after this long, the next one so much later."""
PLACES_MAX = 3
PROBE_EVERY_MS = 5_000
ASK_EVERY_S = 1.0
EMPTY_LOOKS = 3
"""A group that restarts is empty for a moment."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Company:
    """Members of the group as last seen."""

    members: tuple[str, ...] = ()
    since_ms: int | None = None
    """When they were first seen so; None: always."""


class Membership:
    """Decides whether this worker joins, stays and is ready. Call ``check`` once a second.

    ``members``: asks for the ids of the group's members. ``own_id``: this worker's among them.
    """

    def __init__(
        self,
        store: RedisStore,
        switch: StopSwitch,
        members: Callable[[], Awaitable[list[str]]],
        own_id: Callable[[], str | None],
        clock: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._store = store
        self._switch = switch
        self._members = members
        self._own_id = own_id
        self._clock = clock
        self._outside = False
        self._company = _Company()
        self._probed_at_ms: int | None = None

    @property
    def why_not(self) -> str | None:
        """Why this worker cannot do its work; None when it can."""
        trouble = self._store.health.trouble
        if self._outside:
            detail = "" if trouble is None else trouble.detail
            return f"outside the group, since it could not publish to Redis: {detail}"
        if trouble is None or self._clock() - trouble.since_ms < TROUBLE_AFTER_MS:
            return None
        return f"cannot publish to Redis: {trouble.detail}"

    async def join(self) -> None:
        """Return once this worker may join: it can publish, or nobody is in the group."""
        empty = 0
        while not await self._store.probe():
            empty = 0 if await self._ask() else empty + 1
            if empty == EMPTY_LOOKS:
                break
            if not self._outside:
                self._outside = True
                _log.warning("outside_the_group", why=self.why_not)
            await asyncio.sleep(ASK_EVERY_S)
        self._outside = False

    async def check(self) -> None:
        """End when Redis refuses this worker and others go on; probe while it publishes nothing."""
        now_ms = self._clock()
        probed_at_ms = self._probed_at_ms
        if not self._store.holds_markets and (
            probed_at_ms is None or now_ms - probed_at_ms >= PROBE_EVERY_MS
        ):
            self._probed_at_ms = now_ms
            await self._store.probe()
        trouble = self._store.health.trouble
        if trouble is None or trouble.refused_since_ms is None:
            self._company = _Company()
        elif now_ms - trouble.refused_since_ms >= GIVE_WAY_EVERY_MS:
            await self._give_way(trouble, trouble.refused_since_ms)

    async def _give_way(self, trouble: Trouble, refused_since_ms: int) -> None:
        members = tuple(sorted(await self._ask()))
        now_ms, before = self._clock(), self._company
        if members != before.members:
            self._company = _Company(members, now_ms if before.members else None)
        own_id = self._own_id()
        if own_id not in members or len(members) == 1:
            return  # alone: folding goes on, and Kafka and Prometheus get their values
        place = min(members.index(own_id), PLACES_MAX)
        since_ms = self._company.since_ms
        settled = since_ms is None or now_ms - since_ms >= GIVE_WAY_EVERY_MS
        if settled and now_ms - refused_since_ms >= GIVE_WAY_EVERY_MS * (1 + place):
            reason = (
                f"Redis refuses this worker, and others go on with its markets: {trouble.detail}"
            )
            self._switch.trip(Fatal(ExitCode.CANNOT_PUBLISH, reason))

    async def _ask(self) -> list[str]:
        try:
            return await self._members()
        except (KafkaError, OSError) as error:
            _log.warning("group_unknown", error=repr(error))
            return ["unknown"]  # as if there were others; own_id is not among them


async def group_members(kafka: KafkaSettings, group: str) -> list[str]:
    """Ids of the members of a consumer group. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=5_000)
    try:
        await admin.start()
        (response,) = await admin.describe_consumer_groups([group])
    except GroupCoordinatorNotAvailableError:
        return []
    finally:
        await admin.close()
    return [member[0] for found in response.groups for member in found[5]]
