"""Connections that were reset, in the moment before aiokafka hears of it.

uvloop refuses a write to them with a RuntimeError, which aiokafka takes for no failure of a connection.
When a broker was killed, all its connections broke at once: one of them made aiokafka ask for metadata
over another, and the task that keeps metadata ended. From then on whoever needed metadata waited for
ever. A worker sent no heartbeat any more, and published for minutes what another had taken over.
"""

from __future__ import annotations

from typing import Any

from aiokafka.conn import CloseReason


def reopen_broken(client: Any) -> None:
    """Let an aiokafka client open a connection anew instead of writing to one that is closing.

    For clients that live as long as a worker; nobody awaits between getting a connection and writing.
    """
    get = client._get_conn

    async def get_open(node_id: Any, **kwargs: Any) -> Any:
        connection = await get(node_id, **kwargs)
        writer = None if connection is None else connection._writer
        if writer is None or not writer.transport.is_closing():
            return connection
        connection.close(CloseReason.CONNECTION_BROKEN)
        return await get(node_id, **kwargs)

    client._get_conn = get_open
