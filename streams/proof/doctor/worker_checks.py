"""Checks of the workers: their installation, checkpoints, group, values in Redis and readiness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams.flow import plain
from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import through_in_log
from streams.flow.log_change import cut_short
from streams.index.instants import parse_instant
from streams.index.methodology import Methodology
from streams.index.panes import rfc3339
from streams.operate.workers_http import WorkerError, base_url, partition_states, why_not_ready
from streams.proof.audit.checkpoints import CheckpointChain
from streams.proof.doctor.findings import Finding, Level
from streams.publish.http import PartitionState
from streams.reader import BEHIND_AFTER_MS
from streams.records.kafka_logs import Extent
from streams.records.redis_reader import MarketRedis
from streams.records.values_log import MarketValues
from streams.settings import Settings
from streams.worker import batches
from streams.worker.topic_ids import TopicIdentity

AS_OF_AGE_MAX_MS = 60_000
"""Largest age of a live market's ``as_of``, which follows the clock by about eight seconds."""
OPEN_TRANSACTION_MAX_MS = 60_000
"""The alert's time."""
LAG_RECORDS = 10_000
REBALANCE_ROUNDS = 6
"""A worker that starts, and a group that rebalances, are given this many rounds to become ready."""
CANNOT_PUBLISH = "publish to Redis: "
"""Words of the reason of a worker that Redis does not take anything from."""
NEW_EDITION = "raise `edition` in methodology.toml, then `ecindex topics create`, then restart"


def check_installation() -> Finding:
    """Check that the compiled modules are there. Without them results are equal, but slower."""
    missing = [
        name
        for name, there in (
            ("streams.flow.plain_orders", plain.COMPILED),
            ("streams.worker.record_columns", batches.COMPILED),
        )
        if not there
    ]
    if not missing:
        return Finding("installation", Level.OK, "compiled modules", "both", "both")
    return Finding(
        "installation",
        Level.WARNING,
        "compiled modules",
        "both",
        f"without {', '.join(missing)}: correct, but a fifth as fast",
        "install a wheel, or a C compiler (and Python's headers) and then ecindex again",
    )


def check_methodology(
    methodology: Methodology, path: str, chains: Mapping[SourcePartition, CheckpointChain]
) -> Finding:
    """Check that the checkpoints were made under this methodology.toml."""
    others = {
        chain.content_hash[:12]
        for chain in chains.values()
        if chain.through >= 0 and chain.content_hash != methodology.content_hash
    }
    own = f"edition {methodology.edition}, hash {methodology.content_hash[:12]}"
    if not others:
        return Finding("methodology", Level.OK, path, "that of the checkpoints", own)
    return Finding(
        "methodology",
        Level.WRONG,
        path,
        f"hash {', '.join(sorted(others))}, as edition {methodology.edition} has in the checkpoints",
        own,
        f"restore the file, or {NEW_EDITION}",
    )


def check_identity(
    chains: Mapping[SourcePartition, CheckpointChain],
    inputs: Mapping[str, TopicIdentity],
    extents: Mapping[SourcePartition, Extent],
) -> list[Finding]:
    """Check that the checkpoints belong to the topics that exist now."""
    findings: list[Finding] = []
    for sp, chain in sorted(chains.items()):
        own = inputs.get(sp.topic)
        if chain.through < 0 or own is None:
            continue
        expected = found = cause = ""
        fix = NEW_EDITION
        through = through_in_log(chain.through)
        if chain.topic_id and own.topic_id and chain.topic_id != own.topic_id:
            expected, found = f"topic id {chain.topic_id}", f"topic id {own.topic_id}"
            fix = f"ecindex topics accept {sp.topic} id={own.topic_id}"
        elif chain.partitions > own.partitions:  # more are taken in
            expected, found = f"{chain.partitions} partitions", f"{own.partitions} partitions"
            fix = f"ecindex topics migrate --inputs {chain.partitions}"
        elif sp in extents and through >= extents[sp].end:
            expected = f"a log beyond offset {through}"
            found = f"a log that ends at {extents[sp].end}"
            fix = cut_short(sp, chain.through + 1, extents[sp].end, chain.topic_id).command
            cause = expected  # the log may grow while nobody folds it
        if found:
            finding = Finding("identity", Level.WRONG, str(sp), expected, found, fix, cause)
            findings.append(finding)
    if not findings:
        findings.append(
            Finding("identity", Level.OK, "checkpoints", "of the existing topics", "they are")
        )
    return findings


async def check_group(group: str, admin: AIOKafkaAdminClient) -> tuple[Finding, int]:
    """Return (finding, number of workers in the group)."""
    try:
        (response,) = await admin.describe_consumer_groups([group])
        members = sum(len(found[5]) for found in response.groups)
        state = ", ".join(sorted({str(found[2]) for found in response.groups}))
    except GroupCoordinatorNotAvailableError:
        members, state = 0, "no coordinator yet"
    return group_finding(group, members, state), members


def group_finding(group: str, members: int, state: str) -> Finding:
    """Judge the workers' consumer group by its number of members and its state."""
    if not members:
        # Nothing rebalances in an empty group: whoever waits for its worker is told soon.
        level, fix = Level.WRONG, "ecindex worker"
    else:
        level = Level.OK if state == "Stable" else Level.WARNING
        fix = "wait for the rebalance to end, then check again"
    found = f"{members} members, {state}"
    wanted = "at least one member, Stable"
    finding = Finding("workers", level, f"group {group}", wanted, found, fix)
    return finding._replace(rounds=REBALANCE_ROUNDS) if members else finding


def check_lag(
    chains: Mapping[SourcePartition, CheckpointChain], extents: Mapping[SourcePartition, Extent]
) -> list[Finding]:
    """Check how far each checkpoint is behind its log."""
    findings: list[Finding] = []
    for sp, extent in sorted(extents.items()):
        through = chains[sp].through if sp in chains else -1
        through = through_in_log(through)
        lag = max(0, extent.end - max(through + 1, extent.begin))
        findings.append(
            Finding(
                "lag",
                Level.OK if lag < LAG_RECORDS else Level.WARNING,
                str(sp),
                f"below {LAG_RECORDS} records",
                f"{lag} records not in a checkpoint, log {extent.begin} to {extent.end}",
                "check again in a minute; if it grows, start more workers (`ecindex worker`)",
                cause="behind",
            )
        )
        if extent.begin > through + 1 and through >= 0:
            findings.append(
                Finding(
                    "lag",
                    Level.WRONG,
                    str(sp),
                    f"a log that holds offset {through + 1}",
                    f"one that begins at {extent.begin}: retention overtook the workers",
                    f"ecindex topics accept {sp.topic} {sp.partition}:{through + 1}..{extent.begin - 1}",
                    cause=f"overtook {through}",
                )
            )
    return findings


def check_redis(
    settings: Settings,
    published: Mapping[str, MarketValues],
    held: Mapping[str, MarketRedis | None],
    members: int,
    now_ms: int,
) -> list[Finding]:
    """Check what each published market has in Redis, and how old that is."""
    findings: list[Finding] = []
    where = settings.redis.url
    for code, market in sorted(published.items()):
        redis = held.get(code)
        if market.fence is None:
            continue
        if redis is None:
            findings.append(
                Finding(
                    "redis",
                    Level.WRONG if members else Level.WARNING,
                    f"{where} {code}",
                    "the values of a market that was published",
                    "no keys: nobody renewed them for "
                    f"{settings.intervals.stale_after_s} s, or Redis was emptied",
                    "search the workers' logs for redis_failed" if members else "ecindex worker",
                )
            )
            continue
        published_ms = parse_instant(redis.values.get("@published_at", "")) or 0
        as_of_age_ms, heartbeat_age_ms = now_ms - redis.version.as_of_ms, now_ms - published_ms
        old = market.fence.live and as_of_age_ms > AS_OF_AGE_MAX_MS
        silent = heartbeat_age_ms > settings.intervals.stale_after_s * 500
        if market.fence.live and not silent:
            findings += _stopped_inputs(f"{where} {code}", redis.as_of, now_ms)
        kind = "live" if market.fence.live else "imported"
        findings.append(
            Finding(
                "redis",
                Level.WRONG if silent else Level.WARNING if old else Level.OK,
                f"{where} {code}",
                f"renewed each second; as_of within {AS_OF_AGE_MAX_MS // 1000} s when live",
                f"{kind}, as_of {as_of_age_ms / 1000:.0f} s ago, renewed "
                f"{heartbeat_age_ms / 1000:.0f} s ago",
                "ask the worker that owns the market, `ecindex doctor --worker URL`, what Redis refuses "
                "(READONLY: a replica, OOM, a right); if it refuses nothing, restart the worker"
                if silent
                else "a source partition holds as_of back: check lag and halted partitions",
                # Ages are differences of two clocks. Only a publisher that renewed nothing meanwhile
                # is silent.
                cause=f"published at {published_ms}" if silent else "old",
            )
        )
    return findings


def _stopped_inputs(where: str, as_of_ms: Mapping[str, int], now_ms: int) -> list[Finding]:
    """Find the inputs that stand still while another flows."""
    newest_ms = max(as_of_ms.values(), default=0)
    return [
        Finding(
            "redis",
            Level.WRONG,
            f"{where} {topic}",
            f"within {BEHIND_AFTER_MS // 1000} s of the other input, which flows",
            f"{topic} stands at {rfc3339(at_ms)}, {(now_ms - at_ms) / 1000:.0f} s ago",
            "a partition of this input is halted, has no leader, or its worker is stuck: ask each one, "
            "`ecindex doctor --worker URL`",
            cause=f"stands at {at_ms}",
        )
        for topic, at_ms in sorted(as_of_ms.items())
        if newest_ms - at_ms > BEHIND_AFTER_MS
    ]


async def check_workers(workers: Sequence[str]) -> list[Finding]:
    """Check the readiness of the given workers, and their halted partitions."""
    if not workers:
        advice = "give each worker's address: --worker http://127.0.0.1:PORT, as it prints it"
        return [Finding("readiness", Level.UNKNOWN, "workers", "ready", "not asked", advice)]
    findings: list[Finding] = []
    for worker in workers:
        url = base_url(worker)
        try:
            reason = await why_not_ready(worker)
            states = await partition_states(worker)
        except WorkerError as error:
            findings.append(
                Finding("readiness", Level.WRONG, url, "an answer", str(error), "ecindex worker")
            )
            continue
        level = Level.OK if reason is None else Level.WRONG
        found = f"ready, {len(states)} source partitions" if reason is None else reason
        fix = "wait for its recovery; if this stays, read its log"
        if reason is not None and CANNOT_PUBLISH in reason:
            fix = (
                "do what it says of Redis: runbook.md, EcindexWorkerCannotPublish; folding goes on"
            )
        findings.append(
            Finding("readiness", level, url, "ready", found, fix, rounds=REBALANCE_ROUNDS)
        )
        findings += _halted(url, states)
        findings += _held(states)
    return findings


def _halted(url: str, states: Iterable[PartitionState]) -> list[Finding]:
    return [
        Finding(
            "halted",
            Level.WRONG,
            f"{state.topic}-{state.partition}@{state.through}",
            "no halted source partition",
            state.halted,
            _fix_of_halt(url, state, state.halted),
        )
        for state in states
        if state.halted is not None
    ]


def _fix_of_halt(url: str, state: PartitionState, halted: str) -> str:
    if "; run `" in halted:
        return halted.rpartition("; run `")[2].strip("`")
    if not state.releasable:
        return halted.partition(": ")[2]
    return (
        "ecindex dead-letters list, then ecindex dead-letters release "
        f"{state.topic} {state.partition} --worker {url}"
    )


def _held(states: Iterable[PartitionState]) -> list[Finding]:
    return [
        Finding(
            "transaction",
            Level.WRONG,
            f"{state.topic}-{state.partition}@{state.through}",
            f"no transaction open for more than {OPEN_TRANSACTION_MAX_MS // 1000} s",
            f"one producer's transaction has been open for {state.open_transaction_ms / 1000:.0f} s; "
            "nothing behind its first record is read",
            f"the producers of {state.topic} must commit or abort it: docs/runbook.md, "
            "EcindexOpenTransaction",
            cause="open",
        )
        for state in states
        if state.open_transaction_ms > OPEN_TRANSACTION_MAX_MS
    ]
