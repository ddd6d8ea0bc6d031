"""Prometheus and Alertmanager as children of ``up``, with the rules and routes of ``config/``.

The configuration files are those of production, word for word. Only the lists of targets beside them and
the address for notifications belong to this machine.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from streams.local import ports
from streams.local.debian_packages import ALERTMANAGER, PROMETHEUS, DebianPackages, Program
from streams.local.server_process import Server
from streams.settings import default_config

PROMETHEUS_FILES = ("prometheus.yml", "rules.yml", "alerts.yml")
RETENTION = "15d"
ANSWER_TIMEOUT_S = 2.0
NOTIFY_URL = "http://notify:9095/alerts"
"""Address in alertmanager.yml: that of docker-compose.yml."""
RECEIVERS = ("page", "ticket")
"""Names of the receivers in alertmanager.yml: a page wakes somebody, a ticket waits for the morning."""


class _GoServer(Server):
    """Base of Prometheus and Alertmanager: one port, /-/ready, one log line for a port that is taken."""

    port_count = 1
    program: ClassVar[Program]

    def __init__(
        self, home: Path, packages: DebianPackages, *, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(self.program.name, home, env)
        self._packages = packages

    @property
    def url(self) -> str:
        """Address for a browser and for clients."""
        return f"http://{ports.LOOPBACK}:{self.ports[0]}"

    @property
    def target(self) -> str:
        """Address as host:port, for a list of targets."""
        return f"{ports.LOOPBACK}:{self.ports[0]}"

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):  # an HTTP error status is an OSError too
            url = f"{self.url}/-/ready"
            with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S):  # noqa: S310 - ours
                return True
        return False

    def _lost_port(self) -> bool:
        return "address already in use" in self.child.log_tail()


class AlertmanagerServer(_GoServer):
    """One Alertmanager, without a cluster. ``notify``: a URL that gets every notification."""

    program = ALERTMANAGER

    def __init__(
        self,
        home: Path,
        packages: DebianPackages,
        *,
        notify: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(home, packages, env=env)
        self._notify = notify

    def _prepare(self) -> list[str]:
        text = default_config("alertmanager/alertmanager.yml").read_text(encoding="utf-8")
        text = with_webhook(text, self._notify)
        (self.directory / "alertmanager.yml").write_text(text, encoding="utf-8")
        return [
            *self._packages.command(self.program),
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            f"--web.listen-address={self.target}",
            "--cluster.listen-address=",
        ]


class PrometheusServer(_GoServer):
    """One Prometheus that scrapes our workers and sends alerts to ``alertmanager``, if there is one."""

    program = PROMETHEUS

    def __init__(
        self,
        home: Path,
        packages: DebianPackages,
        *,
        alertmanager: AlertmanagerServer | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(home, packages, env=env)
        self._alertmanager = alertmanager
        self.workers: Sequence[int] = ()
        """Metrics ports of the workers; set before the launch."""

    def _prepare(self) -> list[str]:
        for name in PROMETHEUS_FILES:
            text = default_config(f"prometheus/{name}").read_text(encoding="utf-8")
            (self.directory / name).write_text(text, encoding="utf-8")
        self.write_targets()
        return [
            *self._packages.command(self.program),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address={self.target}",
        ]

    def write_targets(self) -> None:
        """Write the addresses of workers and Alertmanager. A running Prometheus notices the change."""
        alertmanagers = [] if self._alertmanager is None else [self._alertmanager.target]
        targets = self.directory / "targets"
        targets.mkdir(exist_ok=True)
        for name, addresses in (
            ("ecindex", [f"{ports.LOOPBACK}:{port}" for port in self.workers]),
            ("alertmanager", alertmanagers),
            ("notify", []),
            ("door", []),
        ):
            groups = [{"targets": addresses}] if addresses else []
            (targets / f"{name}.json").write_text(json.dumps(groups), encoding="utf-8")


class Monitoring:
    """The monitoring servers that were asked for: none, Prometheus, or Prometheus and Alertmanager."""

    def __init__(
        self,
        home: Path,
        packages: DebianPackages,
        *,
        prometheus: bool,
        alertmanager: bool,
        notify: str | None = None,
    ) -> None:
        """Alertmanager brings Prometheus with it: nothing else sends it alerts."""
        self.alertmanager = (
            AlertmanagerServer(home, packages, notify=notify) if alertmanager else None
        )
        self.prometheus = (
            PrometheusServer(home, packages, alertmanager=self.alertmanager)
            if prometheus or alertmanager
            else None
        )

    @property
    def servers(self) -> list[AlertmanagerServer | PrometheusServer]:
        """Servers in the order of their start. Each knows those before it."""
        servers = (self.alertmanager, self.prometheus)
        return [server for server in servers if server is not None]

    def launch(self, workers: Sequence[int]) -> None:
        """Fork the servers. ``workers``: metrics ports of the workers to scrape."""
        if self.prometheus is not None:
            self.prometheus.workers = workers
        for server in self.servers:
            server.launch()

    def wait_ready(self) -> None:
        """Return when each server answers."""
        for server in self.servers:
            server.wait_ready()
        if self.prometheus is not None:  # Alertmanager may have moved to another port
            self.prometheus.write_targets()

    def stop(self) -> None:
        """End the servers, Prometheus first: otherwise it would see an outage of Alertmanager."""
        for server in reversed(self.servers):
            server.stop()


def with_webhook(text: str, url: str | None) -> str:
    """Alertmanager configuration whose receivers post to ``url``, resolved alerts included.

    None: they notify nobody; Alertmanager only shows alerts.
    """
    hook = f"    webhook_configs:\n      - url: {NOTIFY_URL}\n"
    found = text.count(hook)
    assert found == len(RECEIVERS), (
        "config/alertmanager/alertmanager.yml: webhooks of the receivers"
    )
    own = "" if url is None else f"    webhook_configs:\n      - url: {json.dumps(url)}\n"
    return text.replace(hook, own)
