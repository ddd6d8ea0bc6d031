"""Merges the sources of settings; names what is wrong and where it came from."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from streams.index import methodology
from streams.publish.keys import AS_OF_AGE_MAX_MS
from streams.publish.redis_urls import may_be_shown
from streams.settings.model import Settings, default_config

ENV_PREFIX = "ECINDEX_"
ENV_DELIMITER = "__"
CONFIG_VARIABLE = "ECINDEX_CONFIG"
"""Names the TOML file when the command line does not."""
HEALTHY_AGE_MAX_MS = AS_OF_AGE_MAX_MS - 2_000
"""What methodology and intervals may add to the age of ``as_of``. The rest is for the marks, which come
each second, and for the ways through Kafka and to Redis."""
_SERVICE_VARIABLE = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class Problem(NamedTuple):
    """One wrong setting. ``found`` is None where showing it could show a secret."""

    setting: str
    found: str | None
    origin: str
    expected: str

    def __str__(self) -> str:
        found = "" if self.found is None else f"found {self.found} "
        return f"{self.setting}: {found}({self.origin}); expected {self.expected}"


class SettingsError(ValueError):
    """At least one setting is wrong, so start-up must stop. The operator must fix each problem."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("wrong settings:\n" + "\n".join(f"  {problem}" for problem in problems))


class Described(NamedTuple):
    """A setting as ``doctor`` prints it; secrets are masked."""

    setting: str
    value: str
    origin: str


class _Given(NamedTuple):
    value: Any
    origin: str


def load_settings(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Load settings from file, environment and command line; the later source overrides.

    Without ``file`` it reads the file that ECINDEX_CONFIG names, else the default ``ecindex.toml`` if
    there is one. ``overrides`` maps dotted names (``kafka.bootstrap_servers``) to values; None means
    not given. Relative paths in the file are relative to the file. Raises SettingsError.
    """
    given: dict[str, _Given] = {}
    problems: list[Problem] = []
    for source in (
        _file_values(file),
        _environment_values(),
        _flat_given(overrides or {}, "command line"),
    ):
        for name, value in source:
            found = _unknown(name, value.origin)
            if found is None:
                given[name] = value
            elif found not in problems:
                problems.append(found)
    if problems:
        raise SettingsError(problems)
    try:
        settings = Settings(**_nested(given))
    except ValidationError as error:
        raise SettingsError([*_explain(error, given)]) from None
    settings._origins.update({name: value.origin for name, value in given.items()})  # noqa: SLF001
    return settings


def load_methodology(settings: Settings) -> methodology.Methodology:
    """Load the methodology that the settings name. Raises SettingsError.

    So does one under which a healthy index would look behind to its readers.
    """
    path = settings.methodology
    origin = origin_of(settings, "methodology")
    try:
        found = methodology.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem("methodology", str(path), origin, f"a readable file ({error})")
        raise SettingsError([problem]) from error
    except methodology.MethodologyError as error:
        problem = Problem("methodology", str(path), origin, f"a valid methodology: {error}")
        raise SettingsError([problem]) from error
    intervals = settings.intervals
    times_ms = {
        "pane_ms": found.pane_ms,
        "out_of_order_ms": found.out_of_order_ms,
        "intervals.partials_ms": intervals.partials_ms,
        "intervals.publish_min_interval_ms": intervals.publish_min_interval_ms,
    }
    if sum(times_ms.values()) > HEALTHY_AGE_MAX_MS:
        named = ", ".join(f"{name} {value}" for name, value in times_ms.items())
        expected = (
            f"a sum of at most {HEALTHY_AGE_MAX_MS} of {named}: readers and alerts call values that are "
            f"older than {AS_OF_AGE_MAX_MS // 1000} s behind"
        )
        raise SettingsError([Problem("methodology", str(path), origin, expected)])
    return found


def describe(settings: Settings) -> list[Described]:
    """List every setting with its value and where it came from; secrets are masked."""
    return [
        Described(name, _shown(value), origin_of(settings, name))
        for name, value in _leaves(settings)
    ]


def origin_of(settings: Settings, name: str) -> str:
    """Return where a setting came from; ``default`` if nobody gave it."""
    return settings._origins.get(name, "default")  # noqa: SLF001 - belongs to the loading


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, SecretStr):
        return "********"
    return str(value)


def _leaves(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _known() -> dict[str, Any]:
    return dict(_leaves(Settings()))


def _file_values(file: Path | None) -> Iterator[tuple[str, _Given]]:
    origin = f"file {file}"
    if file is None:
        named = os.environ.get(CONFIG_VARIABLE)  # noqa: TID251 - the reader of the environment
        file = Path(named) if named else default_config("ecindex.toml")
        origin = f"file {file}"
        if not named and not file.exists():
            return
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problem = Problem("config", str(file), origin, f"a readable TOML file ({error})")
        raise SettingsError([problem]) from error
    known = _known()
    for name, value in _flat(values):
        of_path = isinstance(known.get(name), Path) or name.endswith("_file")
        if of_path and isinstance(value, str):
            yield name, _Given(file.absolute().parent / Path(value).expanduser(), origin)
        elif name == "sources.files" and isinstance(value, list):
            beside = file.absolute().parent
            yield name, _Given([_beside(beside, each) for each in value], origin)
        else:
            yield name, _Given(value, origin)


def _beside(directory: Path, value: Any) -> Any:
    return directory / Path(value).expanduser() if isinstance(value, str) else value


def _environment_values() -> Iterator[tuple[str, _Given]]:
    known = {_variable(name): name for name in _known()}
    for variable, value in os.environ.items():  # noqa: TID251 - the reader of the environment
        upper = variable.upper()
        if (
            upper.startswith(ENV_PREFIX)
            and upper != CONFIG_VARIABLE
            and upper not in known
            and not _is_of_a_service(upper, value)
        ):
            dotted = upper.removeprefix(ENV_PREFIX).lower().replace(ENV_DELIMITER, ".")
            yield dotted, _Given(value, f"environment {variable}")
    source = _Variables(
        Settings,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        env_ignore_empty=True,
    )
    for name, given in _flat_given(source(), ""):
        yield name, _Given(given.value, f"environment {_variable(name)}")


class _Variables(EnvSettingsSource):
    """Variables as they are written: one that is no JSON is a text, which the setting then judges.

    pydantic-settings ends with its own error for a text where it wants JSON, and names no setting.
    """

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            decoded = super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value
        return decoded if isinstance(decoded, (dict, list)) else value


def _is_of_a_service(variable: str, value: str) -> bool:
    """Whether Kubernetes set a variable because the name of a service begins with ``ecindex``.

    Every pod gets the addresses of its namespace's services, of ``ecindex-board`` as
    ECINDEX_BOARD_SERVICE_HOST and ECINDEX_BOARD_PORT=tcp://10.0.0.1:8080. None of them is a setting.
    """
    if ENV_DELIMITER in variable:
        return False
    return bool(_SERVICE_VARIABLE.search(variable)) or (
        variable.endswith("_PORT") and bool(_SERVICE_ADDRESS.match(value))
    )


def _variable(name: str) -> str:
    return ENV_PREFIX + name.replace(".", ENV_DELIMITER).upper()


def _flat_given(values: Mapping[str, Any], origin: str) -> Iterator[tuple[str, _Given]]:
    for name, value in _flat(values):
        if value is not None:
            yield name, _Given(value, origin)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, Mapping):
            yield f"{prefix}{name}", value


def _nested(given: Mapping[str, _Given]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in given.items():
        section, _, leaf = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[leaf] = value.value
    return nested


def _unknown(name: str, origin: str) -> Problem | None:
    known = _known()
    if name in known:
        return None
    if any(other.startswith(f"{name}.") for other in known):
        return Problem(name, None, origin, "a table of settings, not a value")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"a known setting; did you mean {close[0]}?" if close else "a known setting"
    return Problem(name, None, origin, hint)


def _is_secret(name: str) -> bool:
    return name.endswith(("password", "token", "secret", "pagerduty_key", "webhook_url"))


def _explain(error: ValidationError, given: Mapping[str, _Given]) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        parts = detail["loc"]
        # What is in a list was given with the list: it is named by its setting.
        listed = next((at for at, part in enumerate(parts) if isinstance(part, int)), len(parts))
        name = ".".join(str(part) for part in parts[:listed])
        value = given.get(name)
        secret = _is_secret(name) or "@" in str(detail["input"])
        secret |= name == "redis.url" and not may_be_shown(str(detail["input"]))
        expected = detail["msg"].removeprefix("Value error, ")
        expected = expected.removeprefix("Input should be ").removeprefix("String should ")
        within = parts[listed + 1 :]
        if within:  # a field of a table in a list
            name = f"{name}[{parts[listed]}]." + ".".join(map(str, within))
            secret = True
        yield Problem(
            name,
            None if secret else repr(detail["input"]) if value is None else repr(value.value),
            "default" if value is None else value.origin,
            expected,
        )
