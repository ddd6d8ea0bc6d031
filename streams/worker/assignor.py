"""Faust's assignor, told only of partitions that exist.

Faust's is sticky: each member says what it had, and keeps as much of it as its share allows. A topic
that was deleted and made again with fewer partitions has lost some of them. Faust counts those as
assigned, finds no room for the ones there are, and a bare `assert` ends the leader of the group, then
the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor import PartitionAssignor
from faust.assignor.client_assignment import ClientAssignment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.cluster import ClusterMetadata


class ExistingAssignor(PartitionAssignor):  # type: ignore[misc]
    """Faust's sticky assignor for topics that may have fewer partitions than they had."""

    def _perform_assignment(
        self,
        cluster: ClusterMetadata,
        member_metadata: Mapping[str, ConsumerProtocolMemberMetadata],
    ) -> Any:
        existing = {
            member: self._of_existing(cluster, metadata)
            for member, metadata in member_metadata.items()
        }
        return super()._perform_assignment(cluster, existing)

    def _of_existing(
        self, cluster: ClusterMetadata, metadata: ConsumerProtocolMemberMetadata
    ) -> ConsumerProtocolMemberMetadata:
        """Return a member's metadata without what it had and is no more."""
        client = self._get_client_metadata(metadata)
        had = client.assignment
        client.assignment = ClientAssignment(
            actives=_existing(cluster, had.actives), standbys=_existing(cluster, had.standbys)
        )
        return ConsumerProtocolMemberMetadata(
            metadata.version, metadata.subscription, client.dumps()
        )


def _existing(cluster: ClusterMetadata, had: Mapping[str, list[int]]) -> dict[str, list[int]]:
    # Faust deals out the numbers below the count, whichever they are.
    counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in had}
    return {
        topic: [number for number in numbers if number < counts[topic]]
        for topic, numbers in had.items()
    }
