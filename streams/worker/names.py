"""Names that carry the edition: the consumer group, its tables, their changelog topics.

A new edition maps events to other slots and members. It runs beside the old one until it has caught
up, so the two must share no name. This module imports nothing of Faust: a command that creates or
checks topics need not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.settings import Settings

MERGED_TABLE = "merged"
INPUT_PARTITIONS = 6
"""How many partitions an input is advised to get when nothing tells how many it had."""
SET_ASIDE_PARTITIONS = 4
"""Partitions of the late and dead-letter topics."""


def app_id(edition: int, prefix: str) -> str:
    """Return the id of the consumer group and of the Faust application."""
    return f"{prefix}-e{edition}"


def checkpoint_table(topic: str) -> str:
    """Return the name of the table that holds an input topic's checkpoints."""
    return f"checkpoint-{topic}"


def changelog_topic(app_id: str, table_name: str) -> str:
    """Return the topic that holds a table's records, named as Faust does; creation uses it too."""
    return f"{app_id}-{table_name}-changelog"


def changelogs(settings: Settings, edition: int, partitions: dict[str, int]) -> dict[str, int]:
    """Return changelog topics with their partition counts; ``partitions``: counts of the inputs."""
    group = app_id(edition, settings.topics.prefix)
    found = {
        changelog_topic(group, checkpoint_table(topic)): partitions[topic]
        for topic in (settings.topics.orders, settings.topics.payments)
    }
    found[changelog_topic(group, MERGED_TABLE)] = settings.topics.partials_partitions
    return found


def inputs_of(settings: Settings, edition: int) -> dict[str, str]:
    """Return the changelog of each input's checkpoints -> the input."""
    group = app_id(edition, settings.topics.prefix)
    return {
        changelog_topic(group, checkpoint_table(topic)): topic
        for topic in (settings.topics.orders, settings.topics.payments)
    }


def by_market(settings: Settings, edition: int) -> tuple[str, ...]:
    """Return the topics in which a market has its own partition."""
    topics = settings.topics
    merged = changelog_topic(app_id(edition, topics.prefix), MERGED_TABLE)
    return topics.partials, topics.values, topics.journal, merged


def own_topics(settings: Settings) -> dict[str, int]:
    """Return the topics that workers write, without changelogs -> the partitions that they need.

    A topic may have more: nobody writes to them. ``topics.partials_partitions`` says which partition a
    market is in, and no count that a broker has.
    """
    topics = settings.topics
    # They hold few records and need no order between markets; one partition is read in one go.
    single = (topics.shifts, topics.history, topics.answers, topics.definitions)
    return {
        **dict.fromkeys(
            (topics.partials, topics.values, topics.journal), topics.partials_partitions
        ),
        **dict.fromkeys(single, 1),
        **dict.fromkeys((topics.late, topics.dead_letters), SET_ASIDE_PARTITIONS),
    }


def needed(settings: Settings, edition: int, counts: Mapping[str, int]) -> dict[str, int]:
    """Return every topic of an edition but the inputs -> the partitions that it needs.

    ``counts``: those of the topics that exist. A changelog needs as many as its source has, so that
    Faust assigns both together. Partials that were created with more keep them, and the merged changelog
    gets as many; where that has more, new partials do. The changelog of an input that does not exist
    needs those that it has.
    """
    found = own_topics(settings)
    group, partials = app_id(edition, settings.topics.prefix), settings.topics.partials
    merged = changelog_topic(group, MERGED_TABLE)
    pair = max(found[partials], counts.get(partials, 0), counts.get(merged, 0))
    found |= {partials: pair, merged: pair}
    for topic in (settings.topics.orders, settings.topics.payments):
        changelog = changelog_topic(group, checkpoint_table(topic))
        found[changelog] = counts.get(topic, counts.get(changelog, 0))
    return found


def inputs_needed(settings: Settings, edition: int, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the inputs -> the partitions that they need: as many as there are states of theirs."""
    group = app_id(edition, settings.topics.prefix)
    return {
        topic: counts.get(changelog_topic(group, checkpoint_table(topic)), 0)
        for topic in (settings.topics.orders, settings.topics.payments)
    }


def shortfalls(needed: Mapping[str, int], counts: Mapping[str, int], options: str = "") -> str:
    """Return which topics have fewer partitions than they need, and what mends it; empty: none has."""
    found = [
        f"{topic} has {counts[topic]} partitions and needs {count}"
        for topic, count in needed.items()
        if 0 < counts.get(topic, 0) < count
    ]
    return f"{', '.join(found)}; run `ecindex topics migrate{options}`" if found else ""


def created_with(settings: Settings, edition: int, counts: Mapping[str, int]) -> int | None:
    """Return the one number of partitions that all topics by market have, if the settings say another.

    It is what `topics.partials_partitions` was when they were created, unless all of them were created
    again: the checkpoints tell (`stated_topics.places_stated`).
    """
    found = {counts[topic] for topic in by_market(settings, edition) if topic in counts}
    places = settings.topics.partials_partitions
    return found.pop() if len(found) == 1 and places not in found else None


def partitions_had(
    settings: Settings, edition: int, counts: Mapping[str, int], otherwise: int = INPUT_PARTITIONS
) -> int:
    """Return how many partitions inputs that are missing from ``counts`` must be created with.

    The changelog of an input's checkpoints outlives the input, and has as many as it had; created with
    fewer, the input could not be paired with it. Of two inputs the larger count: one command creates
    both, and more partitions are always taken in. ``counts``: those of the topics that exist;
    ``otherwise``: what is returned where no changelog tells.
    """
    group = app_id(edition, settings.topics.prefix)
    had = [
        counts.get(changelog_topic(group, checkpoint_table(topic)), 0)
        for topic in (settings.topics.orders, settings.topics.payments)
        if topic not in counts
    ]
    return max(had, default=0) or otherwise


def translator_group(prefix: str) -> str:
    """Return the id of the consumer group in which translators share the sources' topics."""
    return f"{prefix}-translate"


def by_order_topic(prefix: str, source: str) -> str:
    """Return the topic in which what a source's records say is brought together by order."""
    return f"{prefix}.source-{source}"


def translated_topic(prefix: str, topic: str) -> str:
    """Return the changelog of a translated topic: how far it is read, and the states of its orders."""
    return changelog_topic(translator_group(prefix), topic)
