"""Programs of Prometheus, or the reason why a test cannot have them, and queries to a running one."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request

import pytest

from streams.local.child import StackError
from streams.local.debian_packages import DebianPackages


def program(cache_dir, wanted):
    """Command line of a program from Debian's packages. Skips the test where there is none."""
    try:
        return DebianPackages(cache_dir / "debian").command(wanted)
    except StackError as error:
        pytest.skip(f"no {wanted.name} here: {error}")


class Api:
    """HTTP API of one Prometheus."""

    def __init__(self, url):
        self.url = url

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error
        assert found["status"] == "success"
        return found["data"]

    def query(self, expr):
        return self.get("query", query=expr)["result"]
