"""POST /v1/sources/NAME: deliveries of vendors, as they are.

A vendor disables a webhook that fails. So a delivery that its source has signed is answered 200 once it
is kept, whatever is in it. What the source file maps of it is kept, and no header: a signature covers
the body alone, so neither market nor shop nor kind is taken from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from xxhash import xxh3_64_hexdigest

from streams import clock
from streams.door.door_answers import Delivered, RequestProblem
from streams.door.door_metrics import DoorMetrics
from streams.door.door_responses import (
    RefusedError,
    as_json,
    as_problem,
    no_room,
    problem_of,
)
from streams.door.door_tokens import Rate
from streams.door.keeping import EventKeeper
from streams.door.kept_record import KeptRecord
from streams.door.request_events import media_type
from streams.door.request_limits import RequestLimits
from streams.door.signatures import SignatureScheme, scheme_of
from streams.door.source_secrets import Secrets
from streams.door.spool import SpoolFullError
from streams.settings import DeclaredSource
from streams.translate.dead_records import refused_value
from streams.translate.refused_records import RefusedRecord

_PING = re.compile(rb"webhook_id=\d{1,20}", re.ASCII)
FORM = "application/x-www-form-urlencoded"
UNDECODED = "undecoded"
"""Reason of the dead letter of a delivery that is no JSON, or of another form than is mapped."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeadLetterPlace:
    """Where dead letters go, and the key of their hash; None: they have none."""

    topic: str
    hash_key: bytes | None


@dataclass(slots=True)
class _Deliverer:
    """One source, as far as deliveries concern it."""

    source: DeclaredSource
    scheme: SignatureScheme
    rate: Rate
    pings: bool
    secrets: tuple[bytes, ...] = ()


class SourceDoor:
    """Takes the deliveries of sources."""

    def __init__(
        self,
        sources: Sequence[DeclaredSource],
        secrets: Secrets,
        dead_letters: DeadLetterPlace,
        keeper: EventKeeper,
        metrics: DoorMetrics,
        limits: RequestLimits,
        *,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        """``sources``: those that have a table [webhook]."""
        self._dead_letters = dead_letters
        self._keeper = keeper
        self._metrics = metrics
        self._limits = limits
        self._now_ms = now_ms
        self._deliverers: dict[str, _Deliverer] = {}
        for each in sources:
            webhook = each.file.webhook
            assert webhook is not None, "no other source delivers"
            self._deliverers[each.name] = _Deliverer(
                each,
                scheme_of(webhook),
                Rate(webhook.deliveries_per_s, 1),
                webhook.signature == "woocommerce",
            )
        self.take_secrets(secrets)

    def take_secrets(self, secrets: Secrets) -> None:
        """Believe these from now on, and no others."""
        for name, deliverer in self._deliverers.items():
            deliverer.secrets = secrets[name]

    async def deliver(self, request: web.Request) -> web.Response:
        """Answer a delivery."""
        name = request.match_info["name"]
        deliverer = self._deliverers.get(name)
        if deliverer is None:
            status = HTTPStatus.NOT_FOUND
            detail = "no source that delivers has this name"
            return as_problem(RequestProblem(status.phrase, int(status), detail))
        try:
            self._limits.check_way(request)
            with self._limits.holding(request):
                delivered = await self._delivered(request, deliverer)
        except RefusedError as refused:
            self._metrics.count_delivery(name, refused.outcome)
            problem = refused.problem
            _log.warning(
                "delivery_refused", source=name, status=problem.status, detail=problem.detail
            )
            return as_problem(refused.problem, refused.retry_after_s)
        except web.HTTPException as error:  # a body that is too large, or does not come
            self._metrics.count_delivery(name, "refused")
            return problem_of(error)
        outcome = delivered.kept if delivered.outcome == "taken" else delivered.outcome
        self._metrics.count_delivery(name, outcome or "")
        if delivered.outcome != "ping":
            self._metrics.note_delivery(name, self._now_ms())
        return as_json(HTTPStatus.OK, delivered)

    async def _delivered(self, request: web.Request, deliverer: _Deliverer) -> Delivered:
        scheme, secrets = deliverer.scheme, deliverer.secrets
        shown = request.headers.getall(scheme.header, [])
        may_ping = deliverer.pings and media_type(request.headers.get(hdrs.CONTENT_TYPE)) == FORM
        if len(shown) != 1 and not may_ping:
            raise _unsigned(scheme)
        body = await self._limits.read(request)
        if not shown and may_ping and _PING.fullmatch(body):
            return Delivered("ping", None)
        signature = shown[0].encode(errors="surrogateescape") if len(shown) == 1 else b""
        if not scheme.signs(secrets, signature, body, self._now_ms()):
            raise _unsigned(scheme)
        wait_s = deliverer.rate.wait_s(1, clock.monotonic_ms())
        if wait_s:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "more deliveries a second than webhook.deliveries_per_s of the source",
                retry_after_s=wait_s,
            )
        return await self._keep(deliverer.source, body)

    async def _keep(self, source: DeclaredSource, body: bytes) -> Delivered:
        cut = source.compiled.cut(body)
        if isinstance(cut, RefusedRecord):
            record = self._dead_letter(source, cut, body)
        else:
            # Copies come to one partition, and all else is spread.
            key = xxh3_64_hexdigest(cut).encode()
            record = KeptRecord(source.topics[0], key, cut, self._now_ms())
        try:
            kept = await self._keeper.keep([record])
        except SpoolFullError as error:
            raise no_room() from error
        return Delivered("dead_letter" if isinstance(cut, RefusedRecord) else "taken", kept)

    def _dead_letter(
        self, source: DeclaredSource, refused: RefusedRecord, body: bytes
    ) -> KeptRecord:
        """Where and why a delivery was refused, with the headers that a worker gives a dead letter.

        It was in no topic, so its partition and offset are -1.
        """
        now_ms = self._now_ms()
        _log.warning("delivery_undecoded", **refused._asdict())
        headers = {
            "reason": UNDECODED,
            "detail": refused.detail,
            "source_topic": source.topics[0],
            "source_partition": "-1",
            "source_offset": "-1",
            "source_timestamp_ms": str(now_ms),
            "original_value_bytes": str(len(body)),
        }
        return KeptRecord(
            self._dead_letters.topic,
            source.name.encode(),
            refused_value(refused, body, source.compiled.fields, self._dead_letters.hash_key),
            now_ms,
            tuple((name, text.encode(errors="replace")) for name, text in headers.items()),
        )


def _unsigned(scheme: SignatureScheme) -> RefusedError:
    return RefusedError(
        HTTPStatus.UNAUTHORIZED,
        f"expected a signature by a secret of this source, in one header {scheme.header}",
    )
