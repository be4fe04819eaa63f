"""What a run was made from, read off the manifests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from albor.runs.manifest import EXTERNAL, NAME, InputRef, Manifest, load
from albor.runs.store import Run


def input_path(directory: Path, ref: InputRef) -> Path:
    """The directory of an input's files."""
    return Path(ref.path) if ref.stage in EXTERNAL else (directory / ref.path).resolve()


def chain(directory: Path, *, unfinished: bool = False) -> Iterator[tuple[Path, Manifest]]:
    """The runs that ``directory`` depends on and itself, inputs first, each once; with ``unfinished`` only as far up as
    there is something to do. What a finished run was made from may be gone. Raises AlborError."""
    seen: set[Path] = set()

    def visit(place: Path) -> Iterator[tuple[Path, Manifest]]:
        if place in seen:
            return
        seen.add(place)
        run = load(place)
        done = run.status == "done"
        above = [input_path(place, ref).parent for ref in run.inputs.values() if ref.stage not in EXTERNAL]
        for upstream in above:
            if not (done and (unfinished or not (upstream / NAME).exists())):
                yield from visit(upstream)
        yield place, run

    yield from visit(directory.resolve())


def failure(directory: Path) -> Run | None:
    """The first run that failed of those that ``directory`` depends on and itself."""
    return next((Run(place, run) for place, run in chain(directory, unfinished=True) if run.error), None)


@dataclass(frozen=True)
class Link:
    """An input of an artifact."""

    name: str
    """What the run calls it."""
    key: str
    """The artifact's ``Artifact.key``."""
    digest: str | None
    """What the run recorded of its bytes when it took it."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A point of a lineage: what a run made, or something that no run of ours made."""

    key: str
    """Tells it from the others: of a run its directory."""
    stage: str
    """The stage that made it; files, hub or source of what none did."""
    name: str
    id: str
    status: str
    """The run's; "gone" where its directory is no more, "given" of what no run made."""
    digest: str | None = None
    """Of the bytes now; of what is gone, what its taker recorded."""
    bytes: int | None = None
    when: float | None = None
    """When it was finished, in seconds since 1970."""
    detail: str = ""
    """What else there is to say of it, in a few words."""
    listing: tuple[str, ...] = ()
    """What it is made up of, a line each, where that is known and may be long."""
    inputs: tuple[Link, ...] = ()
    run: Manifest | None = None

    @property
    def title(self) -> str:
        return f"{self.stage}/{self.name}"


def upstream(directory: Path) -> list[Artifact]:
    """Everything that a run was made from and its own artifact, inputs first, each once. What is gone is said to be.

    Raises AlborError when a manifest on the way is there and cannot be read.
    """
    found: dict[str, Artifact] = {}

    def visit(place: Path) -> None:
        run = load(place)
        found[str(place)] = artifact(place, run)  # its place is taken, so that a circle ends
        for ref in run.inputs.values():
            key = key_of(place, ref)
            if key in found:
                continue
            if ref.stage not in EXTERNAL and (Path(key) / NAME).exists():
                visit(Path(key))
            else:
                found[key] = outside(key, ref)
        found[str(place)] = found.pop(str(place))

    visit(directory.resolve())
    return list(found.values())


def downstream(directory: Path, runs: Iterable[tuple[Path, Manifest]]) -> list[Artifact]:
    """The run, and those of ``runs`` that were made from it, directly or by way of others; takers last."""
    made = {place.resolve(): run for place, run in runs}
    takers: dict[str, list[Path]] = {}
    for place, run in made.items():
        for ref in run.inputs.values():
            takers.setdefault(key_of(place, ref), []).append(place)
    first = directory.resolve()
    wanted, waiting = {first}, [first]
    while waiting:
        fresh = [place for place in takers.get(str(waiting.pop()), []) if place not in wanted]
        wanted.update(fresh)
        waiting += fresh
    ordered = sorted(wanted - {first}, key=lambda place: (made[place].created, str(place)))
    return [artifact(first, load(first)), *(artifact(place, made[place]) for place in ordered)]


def key_of(directory: Path, ref: InputRef) -> str:
    """The ``Artifact.key`` of an input of the run in ``directory``: a run's directory; of what no run made, its id."""
    return f"{ref.stage}:{ref.path}:{ref.id}" if ref.stage in EXTERNAL else str(input_path(directory, ref).parent)


def artifact(directory: Path, run: Manifest) -> Artifact:
    """What a run made, or is to make."""
    return Artifact(
        key=str(directory),
        stage=run.stage,
        name=directory.name,
        id=run.id,
        status=run.status,
        digest=run.digest,
        bytes=sum(file.bytes for file in run.files.values()) if run.files else None,
        when=run.finished,
        inputs=tuple(Link(name, key_of(directory, ref), ref.digest) for name, ref in run.inputs.items()),
        run=run,
    )


def outside(key: str, ref: InputRef) -> Artifact:
    """An input that no run made, or whose run is gone."""
    given = ref.stage in EXTERNAL
    path = Path(ref.path)
    return Artifact(
        key=key,
        stage=ref.stage,
        name=path.name if ref.stage == "files" else ref.path if given else Path(key).name,
        id=ref.id,
        status="given" if given else "gone",
        digest=ref.digest,
        detail=f"{ref.id}, {path}" if ref.stage == "files" else ref.id,
    )
