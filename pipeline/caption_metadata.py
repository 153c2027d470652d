"""What is known of files beside their sound, from one YAML file:

    barnyard.flac: {title: My dog at the lake, video_caption: a dog runs on a meadow}
    "talks/two.mp3":
      title: A storm is coming
      description: Recorded from the porch.

A file is named as it was given, by its path from the YAML's folder, or by its bare name; the first that fits counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.load import Metadata
from pipeline.media_files import FilesError

#: A file of more is no metadata of a folder of sounds.
MOST_BYTES = 16 * 1024 * 1024
#: Of one title, description or visual caption. Captioners read far less.
MOST_CHARACTERS = 20_000
#: So many faults are told at once.
_FAULTS_SHOWN = 10


@dataclass(frozen=True)
class MetadataFile:
    """What one YAML says; `rest` fills what it leaves empty."""

    folder: Path
    entries: Mapping[str, Metadata]
    rest: Metadata

    def of(self, file: str) -> Metadata:
        said = next((self.entries[name] for name in self._names(file) if name in self.entries), Metadata())
        return Metadata(*(own or general for own, general in zip(said, self.rest, strict=True)))

    def unknown(self, files: Iterable[str]) -> list[str]:
        """Names that are of none of the files."""
        known = {name for file in files for name in self._names(file)}
        return [name for name in self.entries if name not in known]

    def _names(self, file: str) -> list[str]:
        path = Path(file)
        try:
            beside = [path.resolve().relative_to(self.folder.resolve()).as_posix()]
        except ValueError:
            beside = []
        return [file, *beside, path.name]


def read_metadata(path: str, rest: Metadata = Metadata()) -> MetadataFile:  # noqa: B008
    """FilesError tells everything that is wrong with it, at once."""
    tree = _read(Path(path))
    faults: list[str] = []
    entries = {name: _entry(name, value, faults) for name, value in tree.items()}
    if faults:
        more = f"\n  and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise FilesError(f"{path}:\n  " + "\n  ".join(faults[:_FAULTS_SHOWN]) + more)
    return MetadataFile(Path(path).parent, entries, rest)


def _read(path: Path) -> dict[Any, Any]:
    import yaml

    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise FilesError(f"{path} has {size / 1e6:.0f} MB; metadata of at most {MOST_BYTES / 1e6:.0f} MB are read")
        tree = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise FilesError(f"{path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FilesError(f"{path} is not YAML: {' '.join(str(error).split())[:500]}") from error
    if not isinstance(tree, dict):
        raise FilesError(f"{path} must be a mapping: file name -> {', '.join(Metadata._fields)}")
    return tree


def _entry(name: Any, value: Any, faults: list[str]) -> Metadata:
    from pipeline.shown import one_line

    where = one_line(str(name) if isinstance(name, (str, int, float)) else "a name", 80)
    if not isinstance(name, str):
        faults.append(f"{where}: a file's name must be text: put it in quotes")
    if not isinstance(value, dict):
        faults.append(f"{where}: must be a mapping with some of {', '.join(Metadata._fields)}")
        return Metadata()
    texts: dict[str, str] = {}
    for key, text in value.items():
        if key not in Metadata._fields:
            shown = one_line(key, 40) if isinstance(key, str) else "a key"
            faults.append(f"{where}: unknown key {shown!r}; known are {', '.join(Metadata._fields)}")
        elif text is not None and not isinstance(text, str):
            faults.append(f"{where}: {key} must be text: put it in quotes")
        elif text is not None and len(text) > MOST_CHARACTERS:
            faults.append(f"{where}: {key} has {len(text)} characters; {MOST_CHARACTERS} are the most")
        else:
            texts[key] = text or ""
    return Metadata(**texts)
