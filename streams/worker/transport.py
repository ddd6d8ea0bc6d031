"""A Faust transport that delivers chunk topics as one message per part of a fetch.

Faust's conductor, scheduler, compiled stream iterator and agents run unchanged. Three parts are
replaced:
  the fetch        chunks instead of an object per record (fetch.py, consumer_thread.py)
  the position     the state's, not the group's committed offset (`seek_to_committed`)
  acknowledgement  none for chunk topics (acks=False): only `mark_done` leads to a commit
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver

from streams.clock import monotonic_ms
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
    """Passes the consumer's key and value on unchanged."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002
        """Return the message's key."""
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002
        """Return the message's value."""
        return message.value


class ChunkTransport(driver.Transport):  # type: ignore[misc]
    """The transport of a `ChunkApp`, which creates it itself instead of by URL scheme."""

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
        monotonic: Callable[[], int] = monotonic_ms,
    ) -> None:
        super().__init__(url, app)
        self.intake = intake
        self.fetch = fetch
        self.listeners = listeners
        self.presence = presence
        self.answers = answers
        self.switch = switch
        self.monotonic = monotonic


def require_compiled_streams() -> None:
    """Refuse Faust's pure-Python stream iterator.

    Unlike the compiled one it acknowledges messages that it skipped as stale, and it is slower. Only
    the compiled one is tested.
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
