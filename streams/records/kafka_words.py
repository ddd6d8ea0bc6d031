"""Failures of Kafka in words for whoever runs a command."""

from __future__ import annotations

from ssl import SSLError

from aiokafka.errors import KafkaError, RequestTimedOutError

from streams.console.chatter import kept_failures

_NO_SERVER = "Unable to bootstrap from"


def in_words(error: KafkaError) -> str:
    """Say a failure of Kafka without how a library's own objects look.

    aiokafka says of servers that do not answer ``[('127.0.0.1', 1, <AddressFamily.AF_INET: 2>)]``. It
    says the same of servers that refuse a password or a certificate; why, it only logs.
    """
    text = str(error)
    if _NO_SERVER not in text:
        return text
    refusals = [
        each
        for each in kept_failures()
        if isinstance(each, SSLError | KafkaError) and not isinstance(each, RequestTimedOutError)
    ]
    if refusals:
        return (
            f"none of these servers lets us in: {refusals[-1]}; compare kafka.security_protocol, "
            "kafka.tls_* and kafka.sasl_* with theirs"
        )
    return "none of these servers answers"
