"""Client of the workers' metrics servers: states, readiness, release of a halted partition."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

import aiohttp
import msgspec

from streams.console.errors import OperationError
from streams.index.formats import json_reader
from streams.publish.http import RELEASE_HEADER, PartitionState, Released

TIMEOUT_S = 5.0
_decode = json_reader(list[PartitionState])
_OUTCOMES = {
    HTTPStatus.OK: Released.RELEASED,
    HTTPStatus.CONFLICT: Released.NOT_HALTED,
    HTTPStatus.LOCKED: Released.NOT_ACCEPTED,
    HTTPStatus.NOT_FOUND: Released.NOT_OWNED,
}


class WorkerError(OperationError):
    """A worker did not answer, or its answer is not that of a worker. The text names its address."""


def base_url(worker: str) -> str:
    """Base address of a worker's server, from ``host:port`` or from the address of any of its pages."""
    url = worker if "://" in worker else f"http://{worker}"
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.split('/', 1)[0]}"


async def partition_states(worker: str) -> list[PartitionState]:
    """States of a worker's source partitions. Raises WorkerError."""
    url = f"{base_url(worker)}/partitions"
    try:
        async with _session() as session, session.get(url) as response:
            response.raise_for_status()
            return _decode(await response.read())
    except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.DecodeError) as error:
        raise WorkerError(f"worker at {base_url(worker)}: {_in_words(error)}") from error


async def why_not_ready(worker: str) -> str | None:
    """Reason that a worker gives for not being ready; None when it is ready. Raises WorkerError."""
    url = f"{base_url(worker)}/readyz"
    try:
        async with _session() as session, session.get(url) as response:
            text = await response.text()
            return None if response.status == HTTPStatus.OK else text.strip()
    except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.DecodeError) as error:
        raise WorkerError(f"worker at {base_url(worker)}: {_in_words(error)}") from error


async def release(workers: Iterable[str], topic: str, partition: int) -> str:
    """Release a halted source partition at the worker that owns it. Returns that worker's address.

    Raises OperationError when no worker owns it, when it is not halted, or when a worker did not answer.
    """
    silent: list[str] = []
    asked = list(workers)
    for worker in asked:
        url = f"{base_url(worker)}/partitions/{topic}/{partition}/release"
        try:
            async with (
                _session() as session,
                session.post(url, headers={RELEASE_HEADER: "1"}) as response,
            ):
                outcome = _OUTCOMES.get(HTTPStatus(response.status))
                text = (await response.text()).strip()
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.DecodeError) as error:
            silent.append(f"{base_url(worker)}: {_in_words(error)}")
            continue
        if outcome is Released.RELEASED:
            return base_url(worker)
        if outcome is Released.NOT_HALTED:
            raise OperationError(f"{topic}-{partition} at {base_url(worker)}: it is not halted")
        if outcome is Released.NOT_ACCEPTED:
            raise OperationError(
                f"{topic}-{partition} at {base_url(worker)}: a release does not mend what has halted "
                f"it; `ecindex doctor --worker {base_url(worker)}` says what does"
            )
        if outcome is None:
            silent.append(f"{base_url(worker)}: {response.status} {text}")
    if silent:
        raise WorkerError(f"{topic}-{partition}: not released; no answer from {'; '.join(silent)}")
    halted = [
        f"{state.topic}-{state.partition}"
        for worker in asked
        for state in await partition_states(worker)
        if state.halted is not None
    ]
    raise OperationError(
        f"{topic}-{partition}: none of the given workers owns it; name every worker with --worker. "
        f"Halted at those given: {', '.join(sorted(halted)) or 'none'}"
    )


def _in_words(error: Exception) -> str:
    """Say why a worker gave no answer, without how aiohttp's own objects look."""
    if isinstance(error, TimeoutError):
        return f"nothing in {TIMEOUT_S:g} s"
    return str(error) or type(error).__name__


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
