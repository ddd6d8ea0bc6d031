"""Settings for another process: a file with all of them, and an environment without any.

``up`` and ``demo`` resolve the settings once and hand them to their workers. Variables in the user's
environment may name a production broker; they must not reach a worker of a demo.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from streams.settings.loading import ENV_DELIMITER, ENV_PREFIX
from streams.settings.model import (
    KafkaSettings,
    LinksSettings,
    NotifySettings,
    RedisSettings,
    ServerSettings,
    Settings,
)

_TUNING = (
    "request_timeout_ms",
    "session_timeout_ms",
    "heartbeat_ms",
    "fetch_min_bytes",
    "fetch_max_wait_ms",
    "fetch_max_bytes",
)
_WITHOUT_TLS = dict.fromkeys(("tls_certificate_file", "tls_key_file", "tls_key_password"))


def local_settings(
    settings: Settings,
    *,
    bootstrap: str,
    redis_url: str,
    data_dir: Path,
    board: str | None = None,
) -> Settings:
    """Adapt settings to local servers on loopback: their addresses, no credentials.

    ``board``: the local page, which is linked to unless the settings name another. Of `notify` it keeps
    where to listen, and nobody who is told: what runs on one machine wakes no one by itself.
    """
    page, notify = settings.board, settings.notify
    links = settings.links.model_dump()
    files = tuple(each.absolute() for each in settings.sources.files)
    tuning = {name: getattr(settings.kafka, name) for name in _TUNING}
    return settings.model_copy(
        update={
            "kafka": KafkaSettings(bootstrap_servers=bootstrap, **tuning),
            "redis": RedisSettings(url=redis_url, prefix=settings.redis.prefix),
            "metrics": ServerSettings(hosts=settings.metrics.hosts),
            "board": ServerSettings(port=page.port, hosts=page.hosts),
            "door": settings.door.model_copy(update=_WITHOUT_TLS),
            "notify": NotifySettings(host=notify.host, port=notify.port, hosts=notify.hosts),
            "links": LinksSettings(**{**links, "board": links["board"] or board}),
            "data_dir": data_dir,
            "methodology": settings.methodology.absolute(),
            "sources": settings.sources.model_copy(update={"files": files}),
            "topics": settings.topics.model_copy(update={"import_restamps": True}),
        }
    )


def as_toml(settings: Settings) -> str:
    """Write settings as TOML that `load_settings` reads back. Secrets are never written."""
    lines: list[str] = []
    sections: list[str] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            sections += ["", f"[{name}]", *_lines(value)]
        else:
            lines.append(f"{name} = {_literal(value)}")
    return "\n".join([*lines, *sections, ""])


def environment_without_settings() -> dict[str, str]:
    """The environment for a child process that gets its settings from a file."""
    return {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - settings read the environment
        if not name.upper().startswith(ENV_PREFIX)
    }


def environment_of_page(settings: Settings) -> dict[str, str]:
    """The environment of a local page: without settings, but for the secret that no file has."""
    secret = settings.answers.revealed_secret()
    own = {} if secret is None else {f"{ENV_PREFIX}ANSWERS{ENV_DELIMITER}PAGERDUTY_SECRET": secret}
    return environment_without_settings() | own


def loopback_port(address: str | None) -> int | None:
    """Port of an address on this machine; None: it is on another one, or behind something there.

    >>> loopback_port("http://127.0.0.1:18980"), loopback_port("http://localhost:80/shop")
    (18980, None)
    >>> loopback_port("https://index.example:443"), loopback_port("http://127.0.0.1:99999")
    (None, None)
    """
    found = urlsplit(address or "")
    if found.scheme != "http" or found.hostname not in ("127.0.0.1", "localhost"):
        return None
    try:
        return found.port if found.path in ("", "/") else None
    except ValueError:  # no port has this number
        return None


def _lines(section: BaseModel) -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if value is not None and not isinstance(value, SecretStr):
            yield f"{name} = {_literal(value)}"


def _literal(value: Any) -> str:
    """Write a value as a TOML literal; a JSON string is a TOML basic string."""
    if isinstance(value, BaseModel):
        return "{" + ", ".join(_lines(value)) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)
