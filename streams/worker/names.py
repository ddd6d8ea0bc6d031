"""Names that carry the edition: the consumer group, its tables, their changelog topics.

Another edition maps events to other slots and members. It runs beside the old one until it has
caught up, so nothing of it may share a name. Nothing of Faust is imported here: whoever creates or
checks topics need not wait for it.
"""

from __future__ import annotations

from streams.settings import Settings

MERGED_TABLE = "merged"


def app_id(edition: int, prefix: str) -> str:
    """Consumer group and Faust application."""
    return f"{prefix}-e{edition}"


def checkpoint_table(topic: str) -> str:
    """Table of an input topic's checkpoints."""
    return f"checkpoint-{topic}"


def changelog_topic(app_id: str, table_name: str) -> str:
    """Name the topic that holds a table's records, as Faust does (also for creating it)."""
    return f"{app_id}-{table_name}-changelog"


def changelogs(settings: Settings, edition: int, partitions: dict[str, int]) -> dict[str, int]:
    """Changelog topics and their partition counts; ``partitions``: those of the two inputs."""
    group = app_id(edition, settings.topics.prefix)
    found = {
        changelog_topic(group, checkpoint_table(topic)): partitions[topic]
        for topic in (settings.topics.orders, settings.topics.payments)
    }
    found[changelog_topic(group, MERGED_TABLE)] = settings.topics.partials_partitions
    return found
