"""The files of benchmarks: found here or on the Hub, checked, read."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from albor.config.schema.task import Benchmark, LmEval
from albor.errors import AlborError

Row = dict[str, Any]
TEXTS = ("prompt", "canonical_solution", "entry_point", "test", "tests", "text", "code", "code_context")
LISTS = ("body", "choices", "stop_tokens", "test_list")
"""Fields that are lists of texts."""


def local(spec: Benchmark | LmEval, data_dir: str | None) -> Path | None:
    """Where the task's file lies, or would lie, on this machine; None when it is to come from the Hub."""
    if spec.file is None:
        return None
    own = Path(spec.file).expanduser()
    if data_dir is None:
        return None if _on_hub(spec) and not own.is_file() else own
    below = Path(data_dir).expanduser() / spec.file
    return own if own.is_file() and not below.is_file() else below


def _on_hub(spec: Benchmark | LmEval) -> bool:
    """Whether the Hub has the same problems; it has not those of a file of one's own, which no SHA-256 describes."""
    if spec.hub is None or spec.file is None:
        return spec.hub is not None
    return spec.sha256 is not None or Path(spec.file).name in [Path(file).name for file in spec.hub.files]


def locate(name: str, spec: Benchmark | LmEval, data_dir: str | None) -> list[Path]:
    """The task's files, fetched if need be. Raises AlborError when they are not to be had or are not what they should
    be."""
    path = local(spec, data_dir)
    if path is None:
        assert spec.hub is not None
        return [_fetch(name, spec.hub.repo, file, spec.hub.revision) for file in spec.hub.files]
    if not path.is_file():
        raise missing(name, spec, path)
    if spec.sha256 is not None and (found := digest(path)) != spec.sha256:
        raise AlborError(
            f"{path} is not the file that task {name} names: its SHA-256 is {found}",
            f"get it again from {spec.source or 'where it came from'}, or accept it: task.{name}.sha256=null",
            code="E-DATA",
        )
    return [path]


def missing(name: str, spec: Benchmark | LmEval, path: Path) -> AlborError:
    where = f"it comes from {spec.source}; " if spec.source else ""
    hub = ", or evals.data_dir=null fetches it from the Hub" if spec.hub else ""
    return AlborError(
        f"the file of task {name} is not there: {path}",
        f"{where}evals.data_dir=DIR names the directory that holds {spec.file}{hub}",
        code="E-DATA",
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def labels(path: Path) -> Path:
    """Where PIQA's answers lie: beside its questions."""
    return path.with_name(f"{path.name.partition('.')[0]}-labels.lst")


def identity(tasks: Mapping[str, Benchmark | LmEval], data_dir: str | None) -> dict[str, str]:
    """What the tasks' files hold: a SHA-256, a revision of the Hub's, or that they are missing."""
    found = {}
    for name, spec in tasks.items():
        path = local(spec, data_dir)
        if path is None:
            assert spec.hub is not None
            found[f"task.{name}"] = f"{spec.hub.repo}@{spec.hub.revision}"
        else:
            found[f"task.{name}"] = digest(path) if path.is_file() else "missing"
            if isinstance(spec, LmEval) and spec.task == "piqa" and (answers := labels(path)).is_file():
                found[f"task.{name}.labels"] = digest(answers)
    return found


def _fetch(name: str, repo: str, file: str, revision: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, file, repo_type="dataset", revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise AlborError(
            f"{file} of {repo}, which task {name} needs, cannot be fetched: {str(error).splitlines()[0]}",
            "check the connection, or put the benchmark files into a directory and give it: evals.data_dir=DIR",
            place=f"task.{name}.hub",
            code="E-DATA",
        ) from None


def read(paths: Sequence[Path]) -> list[Row]:
    """The records of JSONL (plain, .gz, .bz2), JSON and Parquet files. Raises AlborError."""
    return [row for path in paths for row in _rows(path)]


def _rows(path: Path) -> list[Row]:
    if path.suffix != ".parquet":
        return _records(path, read_text(path))
    import pyarrow.parquet as pq

    try:
        return list(pq.read_table(path).to_pylist())
    except (OSError, ValueError) as error:
        raise unreadable(path, str(error)) from None


def _records(path: Path, text: str) -> list[Row]:
    try:
        rows = (
            json.loads(text)
            if ".json" in path.suffixes
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
    except ValueError as error:
        raise unreadable(path, str(error)) from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise unreadable(path, "it is no list of records")
    return rows


def read_text(path: Path) -> str:
    """A file's text, decompressed. Raises AlborError."""
    opener = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix)
    try:
        data = path.read_bytes()
        return (opener(data) if opener else data).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise unreadable(path, str(error)) from None


def unreadable(path: Path, cause: str) -> AlborError:
    return AlborError(f"{path} cannot be read: {cause}", "get the file again", code="E-DATA")


@contextmanager
def named(task: str, paths: Sequence[Path]) -> Iterator[None]:
    """What is wrong with the records is said with the task's name and their files'."""
    try:
        yield
    except AlborError as error:
        error.place = error.place or f"task {task}, {', '.join(map(str, paths))}"
        raise


def field(row: Row, name: str, benchmark: str) -> Any:
    """A record's field. Raises AlborError when it has none of that name, or no text where one must be."""
    value, wanted = row.get(name), ""
    if name in TEXTS and not isinstance(value, str):
        wanted = " that is text"
    if name in LISTS and not (isinstance(value, list) and all(isinstance(part, str) for part in value)):
        wanted = " that is a list of texts"
    if value is None or wanted:
        known = ", ".join(map(str, row))
        raise AlborError(
            f"a record of {benchmark} has no field '{name}'" + ("" if value is None else wanted),
            f"its fields are {known}; is it another format than the task's kind?",
            code="E-DATA",
        )
    return value
