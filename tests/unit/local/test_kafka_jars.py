"""Jars are fetched once, verified each time, healed by name, and never half there."""

from __future__ import annotations

import hashlib
import threading

import pytest

from streams.local.child import StackError
from streams.local.kafka_jars import ROOTS, JarCache, Pin, default_cache_dir, read_pins

CONTENT = {"g:alpha:1": b"first jar" * 1000, "g:beta:2": b"second jar" * 1000}
PINS = tuple(
    Pin(hashlib.sha256(data).hexdigest(), len(data), name) for name, data in CONTENT.items()
)


class Repository:
    """Answers from memory, counts requests, and fails or lies when asked to."""

    def __init__(self) -> None:
        self.requests = []
        self.failures = 0
        self.content = dict(CONTENT)
        self._lock = threading.Lock()

    def __call__(self, coordinate, into, received):
        with self._lock:
            self.requests.append(coordinate)
            failing = self.failures > 0
            self.failures -= failing
        into.mkdir(parents=True)
        path = into / "some.jar"
        data = self.content[coordinate]
        path.write_bytes(data[: len(data) // 2])
        received(len(data) // 2)
        if failing:
            raise OSError("connection reset")
        path.write_bytes(data)
        received(len(data) - len(data) // 2)
        return path


@pytest.fixture
def repository():
    return Repository()


@pytest.fixture
def messages():
    return []


@pytest.fixture
def cache(tmp_path, repository, messages):
    def make():
        return JarCache(
            tmp_path / "cache", PINS, lambda *message: messages.append(message), repository
        )

    return make


def test_a_first_start_fetches_all_and_says_how_much(cache, messages):
    first = cache()
    paths = first.jars()
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert [path.name for path in paths] == ["alpha-1.jar", "beta-2.jar"]
    assert first.downloaded_bytes == 19_000
    text, done, total = messages[0]
    assert "2 jars" in text
    assert (done, total) == (0, 0.019)
    assert max(done for _, done, _ in messages) == 0.019


def test_a_second_start_fetches_nothing(cache, repository):
    cache().jars()
    repository.requests.clear()
    second = cache()
    second.jars()
    assert repository.requests == []
    assert second.downloaded_bytes == 0


def test_a_corrupt_jar_is_named_and_fetched_again(cache, repository, messages):
    alpha, _ = cache().jars()
    alpha.write_bytes(b"X" + alpha.read_bytes()[1:])
    repository.requests.clear()
    messages.clear()
    cache().jars()
    assert repository.requests == ["g:alpha:1"]
    assert alpha.read_bytes() == CONTENT["g:alpha:1"]
    assert f"{alpha} is corrupt" in messages[0][0]
    assert PINS[0].sha256 in messages[0][0]


def test_a_repository_that_serves_another_file_is_refused(cache, repository):
    repository.content["g:beta:2"] = b"malice"
    caught = cache()
    with pytest.raises(StackError, match=f"g:beta:2 with sha256 {PINS[1].sha256}") as failure:
        caught.jars()
    assert hashlib.sha256(b"malice").hexdigest() in str(failure.value)
    assert not (caught.directory / "beta-2.jar").exists()


def test_a_reset_connection_is_tried_again(cache, repository):
    repository.failures = 2
    assert all(path.exists() for path in cache().jars())


def test_a_missing_network_is_reported_with_the_coordinate(cache, repository):
    repository.failures = 1000
    with pytest.raises(StackError, match=r"g:alpha:1 .*connection reset"):
        cache().jars()


def test_nothing_of_a_failed_fetch_stays_but_what_was_right(cache, repository):
    repository.content["g:beta:2"] = b"malice"
    failed = cache()
    with pytest.raises(StackError):
        failed.jars()
    assert {path.name for path in failed.directory.iterdir()} <= {".lock", "alpha-1.jar"}


def test_what_a_crashed_download_left_is_swept(cache):
    made = cache()
    leftover = made.directory / ".fetching-dead" / "0-alpha-1.jar"
    leftover.mkdir(parents=True)
    made.jars()
    assert not leftover.parent.exists()


def test_concurrent_first_starts_fetch_once(cache, repository):
    caches = [cache() for _ in range(8)]
    results = []
    threads = [
        threading.Thread(target=lambda made=made: results.append(made.jars())) for made in caches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert sorted(repository.requests) == ["g:alpha:1", "g:beta:2"]


def test_the_pins_of_the_repository_hold_no_address_and_both_roots():
    pins = read_pins()
    names = {pin.coordinate for pin in pins}
    assert set(ROOTS) <= names
    assert len(names) == len(pins)
    assert all(len(pin.sha256) == 64 and pin.size > 0 for pin in pins)


def test_a_torn_pin_is_named_with_its_line(tmp_path):
    path = tmp_path / "pins"
    path.write_text("# comment\nabc g:a:1\n")
    with pytest.raises(StackError, match=r"pins:2: .*abc g:a:1"):
        read_pins(path)


def test_the_cache_follows_xdg_and_ignores_a_relative_one(tmp_path):
    assert default_cache_dir({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "ecindex"
    assert default_cache_dir({"XDG_CACHE_HOME": "somewhere"}) == default_cache_dir({})
    assert default_cache_dir({}).name == "ecindex"


def test_a_cache_that_cannot_be_written_is_named(tmp_path, repository):
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="XDG_CACHE_HOME"):
        JarCache(tmp_path / "file" / "cache", PINS, download=repository).jars()
