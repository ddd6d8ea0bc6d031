"""The archive of classes that a JVM is made to write or to use."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.local.jvm_archive import ClassArchive


def java_of(tmp_path, version, *, base):
    home = tmp_path / f"jdk-{version}-{base}"
    (home / "bin").mkdir(parents=True)
    (home / "release").write_text(f'JAVA_VERSION="{version}"\n')
    if base:
        (home / "lib" / "server").mkdir(parents=True)
        (home / "lib" / "server" / "classes.jsa").touch()
    return str(home / "bin" / "java")


@pytest.fixture
def cache(tmp_path):
    directory = tmp_path / "cache"
    directory.mkdir()
    return directory


def started(cache, java, fingerprint="jars"):
    archive = ClassArchive(cache, java, fingerprint)
    (flag,) = archive.flags()
    return archive, flag


def written(flag):
    Path(flag.partition("=")[2]).write_bytes(b"classes")


@pytest.mark.parametrize(
    ("version", "base", "writes", "uses"),
    [
        ("17.0.15", True, "-XX:ArchiveClassesAtExit=", "-XX:SharedArchiveFile="),
        ("25.0.2", True, "-XX:ArchiveClassesAtExit=", "-XX:SharedArchiveFile="),
        ("25.0.2", False, "-XX:AOTCacheOutput=", "-XX:AOTCache="),
    ],
)
def test_the_first_stop_writes_and_the_next_start_uses(
    tmp_path, cache, version, base, writes, uses
):
    java = java_of(tmp_path, version, base=base)
    archive, flag = started(cache, java)
    assert flag.startswith(writes)
    assert archive.writing
    written(flag)
    archive.keep(143)
    again, flag = started(cache, java)
    (kept,) = cache.iterdir()
    assert flag == f"{uses}{kept}"
    assert not again.writing


def test_a_java_that_can_do_neither_gets_no_flag(tmp_path, cache):
    java = java_of(tmp_path, "21.0.1", base=False)
    assert ClassArchive(cache, java, "jars").flags() == []


@pytest.mark.parametrize("returncode", [137, 1, None])
def test_what_a_jvm_wrote_that_did_not_end_in_order_is_not_used(tmp_path, cache, returncode):
    java = java_of(tmp_path, "17.0.15", base=True)
    archive, flag = started(cache, java)
    written(flag)
    archive.keep(returncode)
    assert list(cache.iterdir()) == []
    _, flag = started(cache, java)
    assert flag.startswith("-XX:ArchiveClassesAtExit=")


def test_other_jars_and_another_java_have_their_own_and_the_latest_is_kept(tmp_path, cache):
    java = java_of(tmp_path, "17.0.15", base=True)
    archive, flag = started(cache, java)
    written(flag)
    archive.keep(0)
    for other_java, jars in (
        (java, "other jars"),
        (java_of(tmp_path, "17.0.16", base=True), "jars"),
    ):
        archive, flag = started(cache, other_java, jars)
        assert flag.startswith("-XX:ArchiveClassesAtExit=")
        written(flag)
        archive.keep(143)
        assert len(list(cache.iterdir())) == 1
