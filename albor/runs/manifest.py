"""A run's manifest: what it is, what it was made from, how far it got, what it made."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from albor.errors import AlborError
from albor.runs.files import sha256_file, sha256_files, write_text

Status = Literal["planned", "running", "interrupted", "failed", "done"]
NAME = "manifest.yaml"
BASIS = "basis.json"
"""Digests of the inputs that the work in a run directory was done from."""
SCHEMA = 1
EXTERNAL = ("files", "hub")
"""Stages of inputs that no run of ours made."""


@dataclass(frozen=True, kw_only=True)
class InputRef:
    """One input of a run: which run made it and what its artifact's bytes were."""

    stage: str
    id: str
    path: str
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class FileRef:
    """One file of an artifact."""

    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The source of truth of a run directory. Ranks, resumes and remote jobs read it; they never compose again."""

    schema: int = SCHEMA
    stage: str
    version: int
    id: str
    label: str
    status: Status
    command: str
    config: dict[str, Any]
    """The resolved config."""
    choices: dict[str, str | None] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, InputRef] = field(default_factory=dict)
    files: dict[str, FileRef] = field(default_factory=dict)
    digest: str | None = None
    """SHA-256 over the artifact's file names and hashes."""
    facts: dict[str, Any] = field(default_factory=dict)
    allowed: list[str] = field(default_factory=list)
    """Contracts whose errors were let through."""
    environment: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    stop_at: int | None = None
    """The last step of a replay; null trains to the end."""

    def to(self, status: Status, **changes: Any) -> Manifest:
        return replace(self, status=status, **changes)

    @property
    def seconds(self) -> float | None:
        """How long it took: of a training that was resumed, all of it and not the last attempt alone."""
        last = None if self.started is None or self.finished is None else self.finished - self.started
        return max((s for s in (last, self.facts.get("seconds")) if isinstance(s, (int, float))), default=None)


def save(directory: Path, manifest: Manifest) -> None:
    """Atomically."""
    write_text(directory / NAME, to_yaml(manifest))


def to_yaml(manifest: Manifest) -> str:
    """What a manifest's file holds; keys in the order of the fields."""
    return str(yaml.dump(asdict(manifest), Dumper=yaml.CSafeDumper, sort_keys=False, width=120))


def load(directory: Path) -> Manifest:
    """The manifest of a run directory. Raises AlborError when there is none, or one that this version cannot read."""
    return read(directory / NAME)


def read(path: Path) -> Manifest:
    """``load`` for a manifest of another name. Raises AlborError."""
    try:
        raw = pickle.loads(_parsed(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise AlborError(
            "no manifest: not a run directory", "`albor runs` lists the runs", place=str(path.parent)
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        cause = f"the manifest is not readable: {str(error).splitlines()[0]}"
        raise AlborError(cause, "remove the directory to build it again", place=str(path)) from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else None
        cause = f"a manifest of schema {found}; this albor reads {SCHEMA}"
        raise AlborError(
            cause, "use the albor that made it, or remove the directory to build it again", place=str(path)
        )
    try:
        inputs = {k: InputRef(**v) for k, v in raw.pop("inputs").items()}
        files = {k: FileRef(**v) for k, v in raw.pop("files").items()}
        return Manifest(**raw, inputs=inputs, files=files)
    except (KeyError, TypeError, AttributeError) as error:
        cause = f"the manifest is not whole: {error}"
        raise AlborError(cause, "remove the directory to build it again", place=str(path)) from None


@lru_cache(maxsize=1024)
def _parsed(text: str) -> bytes:
    """What a manifest says, pickled: a command reads the same ones many times, and YAML takes twenty times as long."""
    return pickle.dumps(yaml.load(text, Loader=yaml.CSafeLoader))


def artifact_files(out: Path) -> dict[str, FileRef]:
    """Every file below ``out`` with its hash and size, sorted by name. Raises OSError."""
    paths = sorted(p for p in out.rglob("*") if p.is_file())
    found: dict[str, FileRef] = {}
    for path, sha256 in zip(paths, sha256_files(paths), strict=True):
        if isinstance(sha256, OSError):
            raise sha256
        found[str(path.relative_to(out))] = FileRef(sha256=sha256, bytes=path.stat().st_size)
    return found


def artifact_digest(files: dict[str, FileRef]) -> str:
    listing = json.dumps({name: ref.sha256 for name, ref in files.items()}, sort_keys=True)
    return hashlib.sha256(listing.encode()).hexdigest()


def run_id(stage: str, version: int, fields: str, identity: dict[str, str], inputs: dict[str, str]) -> str:
    """SHA-256 over what determines the result; the first twelve hex digits.

    Args:
        fields: canonical JSON of the config fields that the stage reads.
        inputs: input name to the id of the run (or the digest of the directory) it comes from.
    """
    text = json.dumps([stage, version, fields, identity, inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def verify(path: Path, known: FileRef) -> None:
    """Raises AlborError when a file is not the one that a run made."""
    if not path.exists() or sha256_file(path) != known.sha256:
        cause = "the file is missing" if not path.exists() else "its bytes are not those that were written"
        raise AlborError(cause, "remove that run's directory to build it again", place=str(path))
