"""The secrets of sources: what their deliveries are signed with, read from a file of their own."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from streams.settings import DeclaredSource, DoorSettings, Problem, SettingsError

SECRETS_MAX = 2
"""Of a source: the one that it has, and while it changes the one that it gets."""
SECRET_MIN = 16
_SETTING = "door.secrets_file"
_SHA256 = re.compile(rb"[0-9a-f]{64}")

Secrets = Mapping[str, tuple[bytes, ...]]
"""By name of the source."""


def load_secrets(door: DoorSettings, sources: Sequence[DeclaredSource]) -> Secrets:
    """Read the secrets of all sources that deliver to the door.

    Raises SettingsError with every line that is wrong, none of which it shows.
    """
    path = door.secrets_file
    if path is None and not sources:
        return {}
    origin = f"file {path}" if path is not None else "not set"
    found: dict[str, list[bytes]] = defaultdict(list)
    problems: list[str] = []
    for number, line in _lines(path):
        name, colon, secret = (part.strip() for part in line.partition(b":"))
        if not colon or len(secret) < SECRET_MIN:
            problems.append(f"line {number}: NAME:SECRET, {SECRET_MIN} characters or more")
        else:
            found[name.decode(errors="replace")].append(secret)
    problems += _mistakes(found, sources)
    if problems:
        raise SettingsError([Problem(_SETTING, None, origin, each) for each in problems])
    return {name: tuple(secrets) for name, secrets in found.items()}


def _lines(path: Path | None) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that say something; those that begin with # do not."""
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError as error:
        problem = Problem(_SETTING, str(path), "settings", f"a readable file ({error})")
        raise SettingsError([problem]) from error
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip() and not line.startswith(b"#"):
            yield number, line


def _mistakes(
    found: Mapping[str, Sequence[bytes]], sources: Sequence[DeclaredSource]
) -> Iterator[str]:
    """Yield what secrets there should be, and should not be."""
    signatures = {each.name: each.file.webhook.signature for each in sources if each.file.webhook}
    owners: dict[bytes, str] = {}
    for name in sorted(signatures.keys() | found.keys()):
        secrets = found.get(name, ())
        if name not in signatures:
            yield f"names of sources that have [webhook], not {name!r}"
        elif not 0 < len(secrets) <= SECRETS_MAX:
            yield f"one or {SECRETS_MAX} secrets of {name}, as lines {name}:SECRET"
        elif signatures[name] == "bearer" and not all(map(_SHA256.fullmatch, secrets)):
            yield f"of {name} the SHA-256 of its token, which `ecindex door token` prints"
        for secret in secrets:
            if owners.setdefault(secret, name) != name:
                # What is signed for one of them could be delivered to the other.
                yield f"a secret of its own for each source; {owners[secret]} and {name} share one"
