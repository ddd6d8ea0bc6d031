"""Who gets which partition of a topic that has fewer than its owners had."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor import PartitionAssignor
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata

from streams.worker.assignor import ExistingAssignor

CHANGELOG = "merged-changelog"
TOPICS = ("partials", CHANGELOG)


class Sensors:
    """Hears of an assignment, and says nothing."""

    def on_assignment_start(self, _assignor):
        return {}

    def on_assignment_error(self, _assignor, _state, _error):
        pass

    def on_assignment_completed(self, _assignor, _state):
        pass


def assignor_of(kind):
    """Make an assignor of a group without global tables."""
    tables = SimpleNamespace(data={}, changelog_topics={CHANGELOG})
    return kind(SimpleNamespace(tables=tables, tracer=None, sensors=Sensors()))


def cluster_of(counts):
    """Return what a consumer knows of topics with these partition counts."""
    cluster = ClusterMetadata()
    cluster._partitions.update({topic: dict.fromkeys(range(n)) for topic, n in counts.items()})
    return cluster


def members_with(had, standbys=()):
    """Return members that had these partitions of each topic."""
    found = {}
    for member, numbers in had.items():
        assignment = ClientAssignment(
            actives={key: list(numbers) for key in TOPICS},
            standbys={key: list(standbys) for key in TOPICS},
        )
        metadata = ClientMetadata(
            assignment=assignment, url=f"http://{member}.invalid:1", changelog_distribution={}
        )
        found[member] = ConsumerProtocolMemberMetadata(4, list(TOPICS), metadata.dumps())
    return found


def dealt(kind, cluster, members):
    """Return {(topic, partition): how many members got it}."""
    counts = {}
    for given in assignor_of(kind).assign(cluster, members).values():
        for topic, numbers in given.assignment:
            for number in numbers:
                counts[topic, number] = counts.get((topic, number), 0) + 1
    return counts


def once(counts):
    return {(topic, number): 1 for topic, count in counts.items() for number in range(count)}


HALVES = {"one": range(0, 12, 2), "two": range(1, 12, 2)}


def test_fausts_own_assignor_counts_partitions_that_are_gone():
    # When this no longer raises, ours is needless.
    with pytest.raises(AssertionError):
        dealt(PartitionAssignor, cluster_of({"partials": 2, CHANGELOG: 12}), members_with(HALVES))


@pytest.mark.parametrize(
    "had",
    [
        HALVES,
        {"one": range(6), "two": range(6, 12)},
        {"one": range(6, 12), "two": range(6)},
        {"one": range(12)},
        {"one": range(12), "two": ()},  # it has just joined
        {"one": range(8), "two": range(4, 12)},  # both say that it was theirs
        {"one": range(4), "two": range(4, 8), "three": range(8, 12)},
    ],
)
@pytest.mark.parametrize("count", [1, 2, 5, 11, 12, 24])
@pytest.mark.parametrize("standbys", [(), (1, 11)])
def test_every_partition_that_exists_is_given_to_one_member(had, count, standbys):
    # Two workers ended, each with the assertion above, and every one that was started after them.
    counts = {"partials": count, CHANGELOG: 12}
    members = members_with(had, standbys)
    assert dealt(ExistingAssignor, cluster_of(counts), members) == once(counts)
    both = dict.fromkeys(TOPICS, count)
    assert dealt(ExistingAssignor, cluster_of(both), members) == once(both)


def test_a_topic_that_is_gone_is_given_to_nobody():
    cluster = cluster_of({CHANGELOG: 12})
    assert dealt(ExistingAssignor, cluster, members_with(HALVES)) == once({CHANGELOG: 12})


def test_what_exists_stays_with_its_owner():
    cluster = cluster_of(dict.fromkeys(TOPICS, 12))
    given = assignor_of(ExistingAssignor).assign(cluster, members_with(HALVES))
    for member, numbers in HALVES.items():
        assert dict(given[member].assignment) == {key: list(numbers) for key in TOPICS}
