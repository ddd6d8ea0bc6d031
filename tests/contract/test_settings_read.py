"""Every setting is read by somebody, and its default stands once: with the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel
from support.settings_read import doubled_defaults, unread

from streams.reader import DEFAULT_PREFIX
from streams.settings import Settings

STREAMS = Path(__file__).parents[2] / "streams"
SETTINGS = ("settings/model.py", "settings/writing.py")
"""The declaration, and what only hands all of it on: neither is a reader."""
OWN_MEANING = {
    "bench/shift_shops.py: Errors.level": "how far a simulated level strays",
    "reader.py: AsyncReader.prefix": "a service has no settings; it is the default's, see below",
    "reader.py: Reader.prefix": "a service has no settings; it is the default's, see below",
    "publish/http_server.py: listen.connections_max": "of servers that have no such setting",
    "publish/http_server.py: listen.names": "of servers that have no such setting",
    "settings/loading.py: _flat.prefix": "of a dotted name",
    "settings/loading.py: _leaves.prefix": "of a dotted name",
    "sources/olist.py: _Order.payments": "a list of rows",
    "translate/source_file.py: PlacesTable.files": "samples beside a source file",
    "translate/source_file.py: TimeTable.format": "how a source writes times",
    "worker/outbox.py: OutboxSettings.request_timeout_ms": (
        "of one produce request, tried again until ack_limit_ms"
    ),
}


def files(*without: str) -> dict[str, str]:
    found = {path.relative_to(STREAMS).as_posix(): path for path in STREAMS.rglob("*.py")}
    return {name: path.read_text() for name, path in found.items() if name not in without}


def test_every_setting_is_read():
    assert unread(Settings, files(*SETTINGS)) == set()


def test_each_default_stands_once():
    found = doubled_defaults(Settings, files(*SETTINGS))
    assert found - OWN_MEANING.keys() == set()
    assert OWN_MEANING.keys() - found == set(), "an exception that nothing needs"
    assert Settings().redis.keys_prefix == DEFAULT_PREFIX


class Inner(BaseModel):
    """Planted: somebody reads two of these."""

    read_ms: int = 1
    behind_a_method: int = 2
    deaf_ms: int = 3

    @property
    def doubled(self) -> int:
        return self.behind_a_method * 2

    @property
    def dead(self) -> int:
        return self.deaf_ms


class Planted(BaseModel):
    """Planted: its only section."""

    inner: Inner = Inner()


READS = """
class Worker:
    def __init__(self, settings: Planted) -> None:
        self._inner = settings.inner

    def start(self, other):
        return self._inner.read_ms, self._inner.doubled, other.deaf_ms
"""


def test_a_setting_that_nobody_reads_is_found_with_the_property_around_it():
    assert unread(Planted, {"w.py": READS}) == {"Inner.deaf_ms", "Inner.dead"}
    assert "Inner.read_ms" in unread(Planted, {"w.py": READS.replace("read_ms", "red_ms")})
    assert "Planted.inner" in unread(Planted, {"w.py": ""})


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("class Fetch:\n    wait: int = 7", {"w.py: Fetch.wait"}),
        ("class Fetch:\n    wait: int | None = None", set()),
        ("class Fetch:\n    wait: int", set()),
        ("class Fetch:\n    def __init__(self, a, *, wait=7): ...", {"w.py: Fetch.wait"}),
        ("def Fetch(first=7, *, wait): ...", {"w.py: Fetch.first"}),
        ("def other(*, deaf_ms=3): ...", {"w.py: other.deaf_ms"}),
    ],
)
def test_a_default_beside_the_setting_is_found_whatever_its_name(code, found):
    call = "inner = load().inner\nFetch(inner.read_ms // 2, wait=inner.read_ms / 1000)\n"
    text = f"def load() -> Planted: ...\n{code}\n{call}"
    assert doubled_defaults(Planted, {"w.py": text}) == found
