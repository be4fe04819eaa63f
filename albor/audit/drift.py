"""What is no longer as it was recorded: artifacts, inputs, sources, and what manifests say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from albor.audit.ids import following, structured
from albor.errors import AlborError
from albor.runs.files import listing_digest, sha256_files
from albor.runs.lineage import chain, input_path
from albor.runs.manifest import EXTERNAL, NAME, InputRef, artifact_digest, artifact_files, load
from albor.runs.store import Run

Kind = Literal["missing", "changed", "added", "input", "source", "manifest"]
Progress = Callable[[int, int], None]
"""(bytes done, bytes in all)."""


@dataclass(frozen=True)
class Found:
    """One thing that is not as it was recorded."""

    run: str
    """STAGE/LABEL-ID."""
    kind: Kind
    path: str
    """A file of the artifact, an input's name, or a key of the manifest."""
    text: str


@dataclass
class Outcome:
    """What came of looking."""

    drifted: list[Found] = field(default_factory=list)
    notes: list[Found] = field(default_factory=list)
    """What could not be held against anything, and why; no drift."""
    runs: int = 0
    files: int = 0
    bytes: int = 0


def look(runs: Sequence[Run], *, quick: bool, progress: Progress = lambda done, total: None) -> Outcome:
    """Holds finished runs against what they recorded; ``quick`` reads no artifact, and goes by sizes."""
    done = [run for run in runs if run.manifest.status == "done"]
    sizes = [known.bytes for run in done for known in run.manifest.files.values()]
    outcome = Outcome(runs=len(done), files=len(sizes), bytes=sum(sizes))
    outcome.drifted += damaged(done, quick=quick, progress=progress)
    torn = {found.run for found in outcome.drifted}
    for run in done:
        # Documents that are damaged themselves say nothing of their sources.
        sources = of_sources(run, quick=quick) if name(run) not in torn else ()
        for found, drifted in (*of_manifest(run), *of_inputs(run, quick=quick), *sources):
            (outcome.drifted if drifted else outcome.notes).append(found)
    return outcome


def with_upstream(runs: Sequence[Run]) -> list[Run]:
    """The runs and everything there is that they were made from, each once. Raises AlborError."""
    found = {place: Run(place, made) for run in runs for place, made in chain(run.directory)}
    return list(found.values())


def name(run: Run) -> str:
    return f"{run.manifest.stage}/{run.directory.name}"


def unreadable(directory: Path, error: AlborError) -> Found:
    """A run directory whose manifest cannot be read."""
    return Found(f"{directory.parent.name}/{directory.name}", "manifest", NAME, error.cause)


# --- files ---


def damaged(runs: Sequence[Run], *, quick: bool = False, progress: Progress = lambda done, total: None) -> list[Found]:
    """Files of artifacts that are gone, hold other bytes, or were added. By hash on all cores, or by size alone."""
    found: list[Found] = []
    there: list[tuple[Run, str, Path]] = []
    for run in runs:
        known = run.manifest.files
        present = {str(p.relative_to(run.artifact)) for p in run.artifact.rglob("*") if p.is_file()}
        found += [Found(name(run), "missing", file, "the file is gone") for file in known if file not in present]
        found += [Found(name(run), "added", file, "no run wrote it") for file in sorted(present.difference(known))]
        for file in known:
            if file not in present:
                continue
            size = (run.artifact / file).stat().st_size
            if size != known[file].bytes:
                text = f"{size:,} bytes, {known[file].bytes:,} were written"
                found.append(Found(name(run), "changed", file, text))
            else:
                there.append((run, file, run.artifact / file))
    return found if quick else found + hashed(there, progress)


def hashed(there: list[tuple[Run, str, Path]], progress: Progress) -> list[Found]:
    """Those of the files whose bytes are not those that were written."""
    there.sort(key=lambda each: -each[0].manifest.files[each[1]].bytes)  # the last one is not to be a long one
    total = sum(run.manifest.files[file].bytes for run, file, _ in there)
    done = 0

    def ended(index: int, path: Path) -> None:
        nonlocal done
        run, file, _ = there[index]
        done += run.manifest.files[file].bytes
        progress(done, total)

    found = []
    for (run, file, _), sha256 in zip(there, sha256_files([path for *_, path in there], ended), strict=True):
        if isinstance(sha256, OSError):
            found.append(Found(name(run), "missing", file, f"it cannot be read: {sha256.strerror}"))
        elif sha256 != run.manifest.files[file].sha256:
            text = f"SHA-256 {sha256}, {run.manifest.files[file].sha256} was written"
            found.append(Found(name(run), "changed", file, text))
    return found


# --- manifests ---

Said = tuple[Found, bool]
"""What was found, and whether it is drift; else it is a note."""


def of_manifest(run: Run) -> Iterator[Said]:
    """A manifest against itself: its digest is that of its files, its id that of its settings."""
    made = run.manifest
    if (digest := artifact_digest(made.files)) != made.digest:
        yield Found(name(run), "manifest", "digest", f"its files give {digest}, it says {made.digest}"), True
    try:
        id = following(made)  # noqa: A001
    except KeyError as error:
        yield Found(name(run), "manifest", "id", f"this albor cannot work it out: {error.args[0]}"), False
        return
    if id is None:
        yield Found(name(run), "manifest", "id", "another version of albor made it, which hashed other fields"), False
    elif id != made.id or not run.directory.name.endswith(f"-{made.id}"):
        text = f"what it says gives {id}; it says {made.id}, its directory {run.directory.name.rpartition('-')[2]}"
        yield Found(name(run), "manifest", "id", text), True


# --- inputs ---


def of_inputs(run: Run, *, quick: bool) -> Iterator[Said]:
    """What a run recorded of its inputs against what these are now."""
    for key, ref in run.manifest.inputs.items():
        if ref.stage == "files":
            yield from of_directory(run, key, ref, quick=quick)
        elif ref.stage not in EXTERNAL:
            yield from of_maker(run, key, ref)


def of_maker(run: Run, key: str, ref: InputRef) -> Iterator[Said]:
    directory = input_path(run.directory, ref).parent
    if not (directory / NAME).exists():
        yield Found(name(run), "input", key, f"{ref.stage}/{directory.name} is gone"), False
        return
    try:
        maker = load(directory)
    except AlborError as error:
        yield Found(name(run), "input", key, f"{ref.stage}/{directory.name}: {error.cause}"), True
        return
    if maker.id != ref.id:
        yield Found(name(run), "input", key, f"{directory.name} is the run {maker.id}, {ref.id} was taken"), True
    elif maker.status != "done":
        yield Found(name(run), "input", key, f"{ref.stage}/{directory.name} is {maker.status}"), False
    elif ref.digest != maker.digest:
        text = f"{ref.stage}/{directory.name} is {maker.digest} now, {ref.digest} was taken"
        yield Found(name(run), "input", key, text), True


def of_directory(run: Run, key: str, ref: InputRef, *, quick: bool) -> Iterator[Said]:
    """A directory that was given by hand."""
    path = Path(ref.path)
    if not path.is_dir():
        yield Found(name(run), "input", key, f"{path} is no longer there"), False
        return
    if ref.digest is None or quick:
        names = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
        if ref.id != f"files:{listing_digest(path, names)[:12]}":
            yield Found(name(run), "input", key, f"names, sizes or times in {path} are others"), ref.digest is None
    elif (digest := artifact_digest(artifact_files(path))) != ref.digest:
        yield Found(name(run), "input", key, f"{path} is {digest} now, {ref.digest} was taken"), True


# --- sources ---


def of_sources(run: Run, *, quick: bool) -> Iterator[Said]:
    """The sources of a prepared corpus, where they still lie on this machine."""
    if run.manifest.stage != "prepare":
        return
    config, problems = structured(run.manifest)
    if config is None:
        yield Found(name(run), "source", problems[0].path or "", f"cannot be read: {problems[0].cause}"), False
        return

    from albor.data.errors import DataError
    from albor.data.sources.present import differences

    read = None if config.data.max_documents else run.manifest.facts.get("read")
    try:
        for it in differences(config.data.source, run.manifest.identity, run.artifact, read=read, quick=quick):
            yield Found(name(run), "source", it.path, it.text), it.kind != "note"
    except DataError as error:
        yield Found(name(run), "source", "data.source", error.cause), False
