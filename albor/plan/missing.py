"""Sources and benchmarks that a config names and that are not here, or are others: a warning of a plan, the end of a
run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from albor.config.schema.config import Config
from albor.config.schema.sources import LocalSource, MixSource, Source
from albor.config.schema.task import Benchmark, LmEval
from albor.contracts import Finding

DIGEST = re.compile("[0-9a-f]{64}")
HELP = "name what exists, or run it where it is"


def missing(config: Config, identity: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for each section whose fingerprint says that something of it is missing."""
    for what in (name for name, value in identity.items() if value == "missing"):
        if what == "benchmarks":
            yield _finding("evals.data_dir", f"{config.evals.data_dir} is not a directory here")
        elif what.startswith("task."):
            yield _of_task(config, what.removeprefix("task."))
        else:
            yield _of_source(config.data.source, what.rpartition(".")[0])
    for what, value in identity.items():
        spec = config.task.get(what.removeprefix("task.")) if what.startswith("task.") else None
        if isinstance(spec, (Benchmark, LmEval)) and spec.sha256 and DIGEST.fullmatch(value) and value != spec.sha256:
            fix = f"get it again from {spec.source or 'where it came from'}, or accept it: {what}.sha256=null"
            message = f"{spec.file} is another file than the task's: its SHA-256 is {value}"
            yield Finding("E-DATA", "warning", f"{what}.sha256", message, fix)


def _of_task(config: Config, name: str) -> Finding:
    spec = config.task[name]
    assert isinstance(spec, (Benchmark, LmEval))
    where = f"it comes from {spec.source}; " if spec.source else ""
    directory = config.evals.data_dir
    message = f"{spec.file} is not there" + (f", nor below {directory}" if directory else "")
    fix = f"{where}evals.data_dir=DIR names the directory that holds it; or leave the task out: ~task.{name}"
    return Finding("E-DATA", "warning", f"task.{name}.file", message, fix)


def _of_source(source: Source, part: str) -> Finding:
    key = "data.source"
    if isinstance(source, MixSource):
        key, source = f"data.source.parts.{part}.source", source.parts[part].source
    if isinstance(source, LocalSource):
        absent = [root for root in source.roots if not Path(root).expanduser().is_dir()]
        verb = "is not a directory" if len(absent) == 1 else "are not directories"
        return _finding(f"{key}.roots", f"{', '.join(absent)} {verb} here")
    return _finding(f"{key}.paths", "no file here fits")


def _finding(path: str, message: str) -> Finding:
    return Finding("E-DATA", "warning", path, message, HELP)
