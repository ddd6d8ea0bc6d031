"""What the door answers, as types. The OpenAPI document is made of them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

LISTED_MAX = 20
"""Events that an answer names. It says of how many it speaks."""

Kept = Literal["kafka", "spool"]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class EventProblem(msgspec.Struct, frozen=True):
    """What is wrong with one event of a request."""

    index: Annotated[int, msgspec.Meta(ge=0, description="Place of the event, from 0 on.")]
    path: Annotated[str, msgspec.Meta(description="The field: $.lines[0].quantity")]
    reason: Annotated[
        str, msgspec.Meta(description="The reason that the event's dead letter would have.")
    ]
    detail: Annotated[str, msgspec.Meta(description="What was expected, and what was found.")]


class Accepted(msgspec.Struct, frozen=True):
    """The events are kept: none of them is lost."""

    accepted: Annotated[int, msgspec.Meta(ge=1, description="Events of the request, all of them.")]
    kept: Annotated[
        Kept,
        msgspec.Meta(
            description="kafka: acknowledged by all replicas in sync. spool: on the door's disk, until "
            "Kafka takes them."
        ),
    ]
    left_out: Annotated[
        list[EventProblem],
        msgspec.Meta(
            max_length=LISTED_MAX,
            description="Parts of these events that cannot be counted; what else they say counts.",
        ),
    ] = []


class Delivered(msgspec.Struct, frozen=True):
    """What became of a delivery of a source. Whatever is in it, it is not to be sent again."""

    outcome: Annotated[
        Literal["taken", "dead_letter", "ping"],
        msgspec.Meta(
            description="taken: what is mapped of it is kept. dead_letter: it cannot be decoded; why is "
            "kept. ping: WooCommerce's, of a new webhook."
        ),
    ]
    kept: Annotated[Kept | None, msgspec.Meta(description="Where, as of events; null of a ping.")]


class RequestProblem(msgspec.Struct, frozen=True):
    """Nothing of the request was kept (RFC 9457)."""

    title: str
    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    detail: Annotated[str, msgspec.Meta(description="What is wrong, and who must act.")]
    refused: Annotated[_Count, msgspec.Meta(description="Events for which it was refused.")] = 0
    events: Annotated[
        list[EventProblem],
        msgspec.Meta(max_length=LISTED_MAX, description="The first of these events."),
    ] = []


class Health(msgspec.Struct, frozen=True):
    """Whether the door takes events, and where they go."""

    status: Annotated[Literal["ok", "full"], msgspec.Meta(description="full: senders get 503.")]
    kept: Annotated[Kept, msgspec.Meta(description="Where events go now.")]
    spool_bytes: _Count
