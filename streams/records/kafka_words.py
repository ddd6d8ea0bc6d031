"""Failures of Kafka in words for whoever runs a command."""

from __future__ import annotations

from aiokafka.errors import KafkaError

_NO_SERVER = "Unable to bootstrap from"


def in_words(error: KafkaError) -> str:
    """Say a failure of Kafka without how a library's own objects look.

    aiokafka says of servers that do not answer ``[('127.0.0.1', 1, <AddressFamily.AF_INET: 2>)]``.
    """
    text = str(error)
    return "none of these servers answers" if _NO_SERVER in text else text
