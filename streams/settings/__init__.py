"""One frozen, typed settings object. Only this package reads the environment.

There are three sources, each overriding the one before: a TOML file, variables ``ECINDEX_*`` (a
section and its setting joined by two underscores: ``ECINDEX_KAFKA__BOOTSTRAP_SERVERS``), the command
line. A wrong or unknown setting stops start-up. The error names it, what was found, where it came from
and what was expected. Values of secrets and of unknown settings are never shown.
"""

from __future__ import annotations

from streams.settings.declared_sources import DeclaredSource, load_sources
from streams.settings.loading import (
    CONFIG_VARIABLE,
    Described,
    Problem,
    SettingsError,
    describe,
    load_methodology,
    load_settings,
)
from streams.settings.methodologies import (
    example,
    or_example,
    or_kept,
    require_markets,
)
from streams.settings.model import (
    DoorSettings,
    DoorToken,
    IntervalSettings,
    KafkaSettings,
    LimitSettings,
    LinksSettings,
    LogSettings,
    NotifySettings,
    RedisSettings,
    ServerSettings,
    Settings,
    SourcesSettings,
    TopicSettings,
    default_config,
)
from streams.settings.running import ADDRESSES, announced, elsewhere
from streams.settings.writing import (
    as_toml,
    environment_of_page,
    environment_without_settings,
    local_settings,
    loopback_port,
)

__all__ = [
    "ADDRESSES",
    "CONFIG_VARIABLE",
    "DeclaredSource",
    "Described",
    "DoorSettings",
    "DoorToken",
    "IntervalSettings",
    "KafkaSettings",
    "LimitSettings",
    "LinksSettings",
    "LogSettings",
    "NotifySettings",
    "Problem",
    "RedisSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SourcesSettings",
    "TopicSettings",
    "announced",
    "as_toml",
    "default_config",
    "describe",
    "elsewhere",
    "environment_of_page",
    "environment_without_settings",
    "example",
    "load_methodology",
    "load_settings",
    "load_sources",
    "local_settings",
    "loopback_port",
    "or_example",
    "or_kept",
    "require_markets",
]
