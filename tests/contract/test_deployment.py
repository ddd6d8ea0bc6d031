"""Dockerfile and docker-compose.yml, judged by their tools and by what the code says."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.methodologies import DEMO
from support.operator_files import ROOT

from streams.cli.commands import app
from streams.local.kafka_jars import KAFKA_VERSION
from streams.settings import load_settings
from streams.worker.runner import _FATAL_GRACE_S, run

BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
JOBS = {"topics"}


def judged(tool, *argv):
    program = BIN / tool
    if not program.exists():
        pytest.skip(f"{tool} has no wheel for this machine")
    done = subprocess.run(
        [program, *argv], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def services():
    found = judged("docker-compose", "config", "--format", "json")
    return json.loads(found)["services"]


def seconds(duration):
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration).groups()
    return 60 * int(minutes or 0) + int(rest or 0)


def test_hadolint_finds_nothing():
    judged("hadolint", "Dockerfile")


def test_compose_takes_the_file():
    judged("docker-compose", "config", "--quiet")


def test_the_parts_are_there(services):
    assert set(services) == {
        "kafka", "redis", "topics", "worker-1", "worker-2", "board", "notify", "simulator",
        "prometheus", "alertmanager", "grafana",
    }  # fmt: skip
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}", "what the tests run"


def test_everything_is_on_loopback_limited_and_without_privileges(services):
    for name, service in services.items():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", ())), name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert int(service["mem_limit"]) > 0, name
        assert service["cpus"] > 0, name


def test_everything_that_serves_has_a_health_check(services):
    for name, service in services.items():
        checked = service.get("healthcheck", {})
        if name in JOBS | {"simulator"}:
            assert checked.get("disable"), name
        elif name not in {"worker-1", "worker-2"}:  # theirs is the image's
            assert checked["test"], name
    assert "HEALTHCHECK" in DOCKERFILE


def test_a_worker_has_time_to_drain(services):
    drain_s = inspect.signature(run).parameters["drain_deadline_s"].default
    for name in ("worker-1", "worker-2"):
        assert seconds(services[name]["stop_grace_period"]) > drain_s + _FATAL_GRACE_S


def test_targets_of_prometheus_are_services(services):
    for file, port in (("ecindex", "9100"), ("alertmanager", "9093"), ("notify", "9095")):
        path = ROOT / "config" / "prometheus" / "targets" / f"{file}.json"
        for group in json.loads(path.read_text()):
            for target in group["targets"]:
                host, _, found = target.partition(":")
                assert host in services
                assert found == port
    assert "ECINDEX_METRICS__PORT=9100" in DOCKERFILE


def test_commands_and_settings_are_ours(services, monkeypatch):
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    ours = {name: s for name, s in services.items() if s.get("image") == "ecindex:local"}
    assert {service["command"][0] for service in ours.values()} <= commands
    given = dict(re.findall(r"(ECINDEX_\w+)=(\S+)", DOCKERFILE))
    for service in ours.values():
        for name, value in {**given, **service.get("environment", {})}.items():
            monkeypatch.setenv(name, str(value))
    load_settings()  # refuses what it does not know


def test_the_page_and_notify_know_whether_pagerduty_tells_of_acknowledgements(services):
    secret = "ECINDEX_ANSWERS__PAGERDUTY_SECRET"
    having = {name for name, each in services.items() if secret in each.get("environment", {})}
    assert having == {"board", "notify"}


def test_all_have_the_methodology_of_the_shops_that_are_simulated(services):
    ours = {name: s for name, s in services.items() if s.get("image") == "ecindex:local"}
    for name, service in ours.items():
        place = Path(service["environment"]["ECINDEX_METHODOLOGY"])
        mounted = {each["target"]: each["source"] for each in service["volumes"]}
        assert Path(mounted[str(place.parent)], place.name) == DEMO, name


def test_the_image_runs_as_nobody_with_hashes_and_copies_only_what_is_sent_to_the_builder():
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+):\d+$", final, re.MULTILINE)
    assert int(user) > 0
    installs = re.findall(r"pip install ([^&\n]*)", DOCKERFILE)
    assert all("--require-hashes" in words or "--no-index" in words for words in installs)
    sent = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert copied <= sent
    assert all((ROOT / name).exists() for name in copied)
