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
