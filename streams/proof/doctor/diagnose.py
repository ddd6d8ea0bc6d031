"""Runs the checks, each after those that it depends on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams import clock
from streams.console.errors import OperationError
from streams.flow.chunk import SourcePartition
from streams.index.methodology import Methodology
from streams.proof.audit.checkpoints import UNREADABLE, CheckpointChain, CheckpointLog
from streams.proof.audit.report import Report
from streams.proof.doctor import broker_checks, worker_checks
from streams.proof.doctor.confirming import PAUSE_S, confirmed
from streams.proof.doctor.definition_checks import check_definitions
from streams.proof.doctor.findings import Diagnosis, Finding, Level
from streams.proof.doctor.label_checks import check_labels
from streams.proof.doctor.record_checks import check_inputs, check_redis_records
from streams.proof.doctor.redis_answers import check_answers, read_redis
from streams.proof.doctor.stored_records import CHECKPOINTS, VALUES, StoredScan, check_stored
from streams.records.definitions_log import read_definitions
from streams.records.kafka_logs import Extent, Logs, open_logs
from streams.records.kafka_topics import existing_partitions
from streams.records.kafka_words import in_words
from streams.records.redis_reader import RedisReader
from streams.records.unreadable import UnreadableRecords
from streams.records.values_log import ValuesLog, read_values
from streams.settings import Settings, SettingsError, describe, load_methodology
from streams.worker import names
from streams.worker.topic_ids import TopicIdentity, topic_identities


async def diagnose(
    settings: Settings, workers: Sequence[str] = (), *, pause_s: float = PAUSE_S
) -> Diagnosis:
    """Run every check until what it finds stands. What a check finds is returned, never raised.

    ``pause_s``: how long to wait before everything is asked again.
    """
    scan = StoredScan(settings)
    return await confirmed(lambda: _ask_once(settings, workers, scan), pause_s)


async def _ask_once(settings: Settings, workers: Sequence[str], scan: StoredScan) -> Diagnosis:
    diagnosis = Diagnosis(describe(settings))
    diagnosis.add([worker_checks.check_installation()])
    try:
        methodology = load_methodology(settings)
    except SettingsError as error:
        where, fix = str(settings.methodology), "fix the file, or set `methodology`"
        diagnosis.add([Finding("methodology", Level.WRONG, where, "a valid file", str(error), fix)])
        return diagnosis
    try:
        await _Doctor(settings, methodology, diagnosis, scan).examine()
    except (KafkaError, OperationError, OSError) as error:
        servers = settings.kafka.bootstrap_servers
        fix = f"start Kafka at {servers}, or set kafka.bootstrap_servers"
        found = in_words(error) if isinstance(error, KafkaError) else str(error) or repr(error)
        diagnosis.add([Finding("broker", Level.WRONG, servers, "an answer", found, fix)])
    diagnosis.add(await worker_checks.check_workers(workers))
    return diagnosis


class _Doctor:
    """State of one diagnosis."""

    def __init__(
        self,
        settings: Settings,
        methodology: Methodology,
        diagnosis: Diagnosis,
        scan: StoredScan,
    ) -> None:
        self._settings = settings
        self._methodology = methodology
        self._diagnosis = diagnosis
        self._scan = scan
        self._inputs = (settings.topics.orders, settings.topics.payments)
        self._definitions_identity: dict[str, TopicIdentity] = {}
        self._group = names.app_id(methodology.edition, settings.topics.prefix)

    async def examine(self) -> None:
        """Check the broker, the topics, the group, checkpoints, published records and Redis."""
        settings, diagnosis = self._settings, self._diagnosis
        admin = AIOKafkaAdminClient(
            **settings.kafka.client_options(),
            request_timeout_ms=min(settings.kafka.request_timeout_ms, 10_000),
        )
        try:
            await admin.start()
            diagnosis.add([await broker_checks.check_broker(settings, admin)])
            diagnosis.add(await broker_checks.check_topics(settings))
            diagnosis.add(await broker_checks.check_inputs(settings, self._methodology, admin))
            identities = await topic_identities(admin, self._inputs)
            self._definitions_identity = await topic_identities(
                admin, [settings.topics.definitions]
            )
            finding, members = await worker_checks.check_group(self._group, admin)
            diagnosis.add([finding])
        finally:
            await admin.close()
        counts = await existing_partitions(settings.kafka)
        inputs = [(topic, counts[topic]) for topic in self._inputs if topic in counts]
        async with open_logs(settings.kafka) as logs:
            # The logs move on while the checkpoints are read. Where a log begins is asked before them
            # and where it ends after them: so no checkpoint of a sound index lies outside its log.
            before = _by_source(await logs.extents(inputs))
            chains = await self._chains(logs, counts, before)
            after = _by_source(await logs.extents(inputs))
            held = {sp: Extent(before[sp].begin, after[sp].end) for sp in before}
            path = str(settings.methodology)
            diagnosis.add([worker_checks.check_methodology(self._methodology, path, chains)])
            diagnosis.add(worker_checks.check_identity(chains, identities, held))
            diagnosis.add(worker_checks.check_lag(chains, before))
            values = await self._values(logs, counts)
            await self._definitions(logs, counts, values)
            edition = self._methodology.edition
            diagnosis.add(await self._scan.findings(logs, counts, edition))
        await self._redis(values, members)

    async def _chains(
        self, logs: Logs, counts: dict[str, int], sources: Iterable[SourcePartition]
    ) -> dict[SourcePartition, CheckpointChain]:
        report = Report()
        chains: dict[SourcePartition, CheckpointChain] = {}
        unreadable: dict[str, UnreadableRecords] = defaultdict(UnreadableRecords)
        for sp in sources:
            changelog = names.changelog_topic(self._group, names.checkpoint_table(sp.topic))
            if sp.partition >= counts.get(changelog, 0):
                continue  # the topics check reports it
            log = CheckpointLog(self._methodology, report)
            async for batch in logs.read_on(TopicPartition(changelog, sp.partition)):
                for stored in batch:
                    log.apply_record(stored)
            chains[sp] = log.chain(sp)
            unreadable[changelog].add_all(log.unreadable)
        self._diagnosis.add(
            check_stored(CHECKPOINTS, topic, found) for topic, found in unreadable.items()
        )
        self._diagnosis.add(
            Finding(
                "checkpoints", Level.WRONG, each.where, each.expected, each.found,
                "ecindex audit, then report its output",
            )
            for each in report.differences
            if each.field not in ("content_hash", UNREADABLE)  # their own checks report them
        )  # fmt: skip
        return chains

    async def _values(self, logs: Logs, counts: dict[str, int]) -> ValuesLog:
        topics = self._settings.topics
        values = await read_values(logs, topics.values, counts.get(topics.values, 0))
        if counts.get(topics.values):  # else the topics check reports it
            self._diagnosis.add([check_stored(VALUES, topics.values, values.unreadable)])
        return values

    async def _definitions(self, logs: Logs, counts: dict[str, int], values: ValuesLog) -> None:
        topic = self._settings.topics.definitions
        if not counts.get(topic):
            return  # the topics check reports it
        read = await read_definitions(logs, topic, self._methodology.markets, "")
        identity = self._definitions_identity.get(topic)
        self._diagnosis.add(
            check_definitions(
                self._methodology,
                read.book.markets,
                values.markets,
                clock.now_ms(),
                "" if identity is None else identity.topic_id,
            )
        )

    async def _redis(self, values: ValuesLog, members: int) -> None:
        settings = self._settings
        reader = RedisReader(settings)
        where = settings.redis.url
        try:
            read = await read_redis(reader, values.markets)
        except OperationError as error:
            fix = "start Redis, or set redis.url; folding goes on without it"
            cause = "no answer"  # however it is said each time
            self._diagnosis.add(
                [Finding("redis", Level.WRONG, where, "an answer", str(error), fix, cause)]
            )
            return
        finally:
            await reader.close()
        self._diagnosis.add(check_inputs(read.notes))
        self._diagnosis.add(check_redis_records(read.refused))
        self._diagnosis.add(check_answers(where, read))
        self._diagnosis.add(check_labels(read.held))
        published = {
            code: market
            for code, market in values.markets.items()
            if code not in read.failed
            and (read.held[code] is not None or not reader.unreadable.get(code))
        }
        now_ms = clock.now_ms()
        self._diagnosis.add(
            worker_checks.check_redis(settings, published, read.held, members, now_ms)
        )


def _by_source(found: Mapping[TopicPartition, Extent]) -> dict[SourcePartition, Extent]:
    return {SourcePartition(tp.topic, tp.partition): extent for tp, extent in found.items()}
