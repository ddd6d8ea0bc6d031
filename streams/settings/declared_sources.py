"""The source files that the settings name, compiled, and held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streams.settings.loading import Problem, SettingsError, origin_of
from streams.settings.model import Settings
from streams.translate.compiled_source import CompiledSource
from streams.translate.source_file import SourceFile, SourceFileError, parse_source

SETTING = "sources.files"


class DeclaredSource(NamedTuple):
    """A source of this installation."""

    file: SourceFile
    compiled: CompiledSource

    @property
    def name(self) -> str:
        """Begins the ids of its events; in metrics and topics."""
        return self.file.name

    @property
    def topics(self) -> list[str]:
        """Where its records are read."""
        return self.file.where.topics

    @property
    def is_keyed(self) -> bool:
        """Whether an order's records come to one partition as they are written."""
        return self.file.where.keyed_by_order


def load_sources(settings: Settings) -> list[DeclaredSource]:
    """Load and compile the source files. Raises SettingsError with whatever is wrong with any."""
    origin = origin_of(settings, SETTING)
    problems: list[Problem] = []
    found: list[tuple[Path, DeclaredSource]] = []
    for path in settings.sources.files:
        try:
            file = parse_source(path.read_text(encoding="utf-8"), path.stem)
            found.append((path, DeclaredSource(file, CompiledSource(file))))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(SETTING, str(path), origin, f"a readable file ({error})"))
        except SourceFileError as error:
            expected = f"a source file without these mistakes: {'; '.join(error.mistakes)}"
            problems.append(Problem(SETTING, str(path), origin, expected))
    problems += (
        Problem(SETTING, str(path), origin, expected) for path, expected in _shared(found, settings)
    )
    if problems:
        raise SettingsError(problems)
    return [source for _, source in found]


def _shared(
    found: list[tuple[Path, DeclaredSource]], settings: Settings
) -> Iterator[tuple[Path, str]]:
    """Yield what two sources share, or a source with the index itself."""
    topics = settings.topics
    names: dict[str, Path] = {}
    readers = dict.fromkeys((topics.orders, topics.payments), "the index")
    for path, source in found:
        if source.name in names:
            yield path, f"another name than {source.name!r}, which {names[source.name]} has"
        names[source.name] = path
        for topic in source.topics:
            if topic in readers:
                yield (
                    path,
                    f"where.topics: a topic that {readers[topic]} does not read, not {topic}",
                )
            elif topic.startswith(f"{topics.prefix}."):
                yield path, f"where.topics: no topic of ecindex's own, not {topic}"
            readers[topic] = str(path)
