"""A Faust transport whose chunk topics arrive as one message a fetch part.

Faust's conductor, scheduler, compiled stream iterator and agents run unchanged; what is replaced:
  the fetch        ChunkRecords in place of a record object each (fetch.py, consumer_thread.py)
  the position     the state's, not the group's committed offset (`seek_to_committed`)
  acknowledgement  none for chunk topics (acks=False): offsets are committed from `mark_done` only
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver

from streams.clock import now_ms
from streams.worker.consumer import ChunkConsumer
from streams.worker.stops import ExitCode, Fatal

if TYPE_CHECKING:
    from collections.abc import Callable

    import faust

    from streams.worker.answers import Answers
    from streams.worker.consumer import Listeners
    from streams.worker.consumer_thread import FetchSettings
    from streams.worker.intake import Intake
    from streams.worker.stops import Presence, StopSwitch


class RawSchema(Schema):  # type: ignore[misc]
    """Hands the consumer's key and value through as they are."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002
        """Return the message's key."""
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002
        """Return the message's value."""
        return message.value


class ChunkTransport(driver.Transport):  # type: ignore[misc]
    """Found through `App._new_transport`, not by URL scheme."""

    Consumer = ChunkConsumer

    def __init__(
        self,
        url: Any,
        app: Any,
        *,
        intake: Intake,
        fetch: FetchSettings,
        listeners: Listeners,
        presence: Presence,
        answers: Answers,
        switch: StopSwitch,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        super().__init__(url, app)
        self.intake = intake
        self.fetch = fetch
        self.listeners = listeners
        self.presence = presence
        self.answers = answers
        self.switch = switch
        self.clock = clock


def require_compiled_streams() -> None:
    """Refuse Faust's pure-Python stream iterator.

    It acknowledges messages that it skipped as stale, the compiled one does not; and it is slower.
    Tested against is the compiled one only.
    """
    from faust import streams  # noqa: PLC0415
    from faust.transport import conductor  # noqa: PLC0415

    if streams._CStreamIterator is None or conductor.ConductorHandler is None:
        raise Fatal(
            ExitCode.USAGE,
            "Faust's compiled stream iterator is missing: install the faust-streaming wheel for "
            "this platform (and unset NO_CYTHON)",
        )


def chunk_topic(app: faust.App, name: str, queue_chunks: int) -> Any:
    """Make the Faust topic of a chunk topic, for an agent to read."""
    topic = app.topic(name, schema=RawSchema(), acks=False)
    # app.topic(maxsize=) is accepted and not passed on: without this the queue has no bound.
    topic.maxsize = queue_chunks
    return topic
