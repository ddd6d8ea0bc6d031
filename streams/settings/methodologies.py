"""Which methodology a command uses: what its settings name, a kept one, or an example.

The default methodology has the markets of whoever installed ecindex. The simulated shops and the public
data sets have markets of their own, so ``config/examples/`` has a methodology for each.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from streams.index import methodology
from streams.settings.loading import Problem, SettingsError, load_methodology, origin_of
from streams.settings.model import Settings, default_config

Example = Literal["demo", "olist", "online-retail"]
_EXAMPLES: tuple[Example, ...] = ("demo", "olist", "online-retail")
_SHOWN, _SHOWN_CHARACTERS = 5, 34


def example(name: Example, file: str = "methodology.toml") -> Path:
    """Path of a file of an example."""
    return default_config(f"examples/{name}/{file}")


def or_example(settings: Settings, name: Example) -> Settings:
    """Return the settings; their methodology is the example's if nobody named one."""
    return _or(settings, example(name), "example")


def or_kept(settings: Settings, file: Path) -> Settings:
    """Return the settings; their methodology is that of a settings file if nobody named one.

    A file that is missing or cannot be read names none.
    """
    try:
        kept = tomllib.loads(file.read_text(encoding="utf-8")).get("methodology")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        kept = None
    if not isinstance(kept, str):
        return settings
    return _or(settings, file.absolute().parent / kept, f"file {file}")


def _or(settings: Settings, path: Path, origin: str) -> Settings:
    if origin_of(settings, "methodology") != "default":
        return settings
    named = settings.model_copy(update={"methodology": path})
    named._origins = {**settings._origins, "methodology": origin}  # noqa: SLF001 - shared by the copy
    return named


def require_markets(settings: Settings, markets: Iterable[str], events: str) -> None:
    """Check that the methodology has the markets; events of another one would be dead letters.

    ``events``: what has events of them. Raises SettingsError, which names an example with the markets.
    """
    wanted = set(markets)
    missing = sorted(wanted - load_methodology(settings).markets.keys())
    if not missing:
        return
    shown = ", ".join(f"{code!r:.{_SHOWN_CHARACTERS}}" for code in missing[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    expected = f"a file with the markets of {events}: {shown}{more}"
    for name in _EXAMPLES:
        if wanted <= _markets_of(name):
            expected += (
                f", as {example(name)}; the workers need it too: `ecindex up --config "
                f"{example(name, 'ecindex.toml')}`, or `methodology` in their settings"
            )
    origin = origin_of(settings, "methodology")
    raise SettingsError([Problem("methodology", str(settings.methodology), origin, expected)])


def _markets_of(name: Example) -> set[str]:
    return {*methodology.parse(example(name).read_text(encoding="utf-8")).markets}
