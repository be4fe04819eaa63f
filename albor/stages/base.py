"""What a stage is: a pure function from (config, input artifacts) to one artifact.

A stage is one module here and one YAML in ``conf/stage``; it is found by its name. The module's top is light (no
torch, pyarrow, lightning): planning imports it. What does the work is imported inside ``run``.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast

import albor.stages
from albor.config.schema.config import Config
from albor.config.structure import determining_fields, hints, plain

if TYPE_CHECKING:
    from albor.executors import Executor

DERIVED: Mapping[str, tuple[str, ...]] = {
    "data.packed_len": ("data.row_len", "data.seq_len"),
    "distill.kept": ("distill.route", "distill.keep"),
    "distill.softened": ("distill.route", "distill.temperature"),
}
"""Properties that a stage may read instead of the keys they are made of: runs that agree in the property agree."""

Facts = Mapping[str, Any]
"""What a finished run says about its artifact (``facts`` in its manifest); empty while it is not built."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stage run is expected to take; None where it cannot be known."""

    parameters: int | None = None
    tensors: int | None = None
    tokens: int | None = None
    flops: float | None = None
    memory: int | None = None
    disk: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


class Context(Protocol):
    """What a running stage is given besides its config."""

    directory: Path
    """The run directory; work that can be resumed is kept here."""
    out: Path
    """Where the artifact's files go."""
    work: Path
    """Where finished parts are kept until the run is done; a rerun finds them."""
    inputs: Mapping[str, Input]
    stop_at: int | None
    """The last step to train, when the run is a replay; the schedule stays that of the whole run."""

    def log(self, metrics: Mapping[str, float | int | str]) -> None: ...
    def progress(self, done: float, total: float, text: str = "") -> None: ...


class Workshop(TypedDict):
    """What a step of the data pipeline is given to work with."""

    out: Path
    work: Path
    executor: Executor
    progress: Callable[[float, float, str], None]
    log: Callable[[Mapping[str, float]], None]


@contextmanager
def workshop(cfg: Config, context: Context) -> Iterator[Workshop]:
    """The run's places and reports, and the config's executor for as long as the block lasts."""
    from albor.executors import open_executor

    with open_executor(cfg.executor, directory=context.work) as executor:
        yield Workshop(
            out=context.out, work=context.work, executor=executor, progress=context.progress, log=context.log
        )


@dataclass(frozen=True)
class Input:
    """An artifact that a stage reads."""

    name: str
    id: str
    path: Path
    """Directory of the artifact's files."""
    facts: Facts
    config: Mapping[str, Any]
    """The resolved config that made it."""
    digest: str | None
    """SHA-256 over its files; None for a directory given by hand."""


def check_addresses(config: Config) -> None:
    """Raises AlborError when the environment lacks an address that training would send alerts to."""
    from albor.training.notify import address

    for name, alert in config.alerts.items():
        if alert is not None and alert.url_env is not None:
            address(name, alert.url_env)


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """What makes an input."""

    stage: str | None
    """The stage; None when nothing of albor's makes it."""
    makes: str
    """The kind of artifact that is wanted."""
    target: tuple[str, ...] | None = None
    """The overrides of a target of its own, which makes it; None takes this target's run of the stage."""
    address: str | None = None
    """How a command line speaks of that target, ``up.ADDRESS.KEY=…``; None: stage by stage, as of what is upstream."""
    default: str | None = None
    """What is taken when no other input is named: a path, or hf:org/name."""
    key: str | None = None
    """The config key that chose the stage, for errors."""


class Interrupted(Exception):
    """A stage stopped on request with its work saved; says where. The process exits with 75."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage's light top."""

    name: str
    version: int
    """Raised when the same config would give another result."""
    makes: str
    """What its artifact is; an input of this name takes it."""
    config: type
    """Schema of ``stage.*``."""
    reads: tuple[str, ...]
    """Dotted prefixes of what the result depends on; ``run`` can read nothing else."""
    label: Callable[[Config], str]
    """Name of its run directories, before the id."""
    inputs: Callable[[Config], Mapping[str, str | Upstream]]
    """Input name to what makes it; a plain stage makes what the input is called."""
    run: Callable[[Config, Context], Facts]
    """Makes the artifact in ``context.out`` and returns what is worth knowing about it."""
    cost: Callable[[Config, Mapping[str, Facts]], Cost] = lambda cfg, inputs: Cost()
    identity: Callable[[Config], Mapping[str, str]] = lambda cfg: {}
    """What, besides the config, determines the result: the version of a source, say. Cheap."""
    requires: Callable[[Config, Mapping[str, Facts]], None] = lambda cfg, inputs: None
    """Raises AlborError when this machine lacks a tool that a run needs, or its inputs what is asked of them; asked
    before anything is started."""
    instead: str | None = None
    """An input that, where it is given, stands for all others."""
    resumable: bool = False
    """Whether an interrupted run goes on from its own directory."""
    action: bool = False
    """Whether it is done each time it is asked for: what it did elsewhere may be gone."""
    distributed: bool = False
    """Whether it runs as one process per device."""
    accelerated: bool = False
    """Whether it computes on the trainer's device."""

    def upstream(self, cfg: Config) -> dict[str, Upstream]:
        """What makes each input."""
        return {
            name: Upstream(stage=made, makes=name) if isinstance(made, str) else made
            for name, made in self.inputs(cfg).items()
        }

    def reads_key(self, key: str) -> bool:
        """Whether the dotted key, or anything below it, is among what this stage reads."""
        keys = [k for r in (*self.reads, "stage") for k in DERIVED.get(r, (r,))]
        return any(key == k or key.startswith(f"{k}.") or k.startswith(f"{key}.") for k in keys)


OTHERS = ("base", "planned")
"""Modules of the room that are no stages."""


@cache
def names() -> tuple[str, ...]:
    """Every stage there is."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(albor.stages.__path__) if m.name not in OTHERS))


@cache
def find(name: str) -> Stage:
    """The stage of this name; raises KeyError when there is none."""
    if name not in names():
        raise KeyError(name)
    stage = importlib.import_module(f"albor.stages.{name}").STAGE
    assert isinstance(stage, Stage) and stage.name == name
    return stage


def encoded(config: Config, path: str) -> str:
    """What determines the result below one of a stage's declared prefixes: the entry of a JSON object."""
    value = functools.reduce(getattr, path.split("."), config)
    return f"{json.dumps(path)}:{json.dumps(plain(value, determining=True), sort_keys=True)}"


def determining(stage: Stage, config: Config, encode: Callable[[Config, str], str] = encoded) -> str:
    """Canonical JSON of what a stage reads, for its runs' ids."""
    paths = (path for path in sorted({*stage.reads, "stage"}) if not is_recorded(path))
    return "{" + ",".join(encode(config, path) for path in paths) + "}"


@cache
def is_recorded(path: str) -> bool:
    """Whether a dotted key is kept in manifests without determining a result."""
    schema: Any = Config
    for name in path.split("."):
        if not isinstance(schema, type) or not dataclasses.is_dataclass(schema) or name not in hints(schema):
            return False
        if name not in determining_fields(schema):
            return True
        schema = hints(schema)[name]
    return False


class View:
    """A config that shows a stage only what it declared to read, so that nothing unhashed can change a result.

    Stands for the config or a section; what lies wholly inside a declared prefix is handed out as it is.
    """

    def __init__(self, target: Any, reads: tuple[str, ...], prefix: str = "") -> None:
        self._target, self._reads, self._prefix = target, reads, prefix

    def __getattr__(self, name: str) -> Any:
        path = f"{self._prefix}{name}"
        if any(path == r or path.startswith(f"{r}.") for r in self._reads):
            return getattr(self._target, name)
        if any(r.startswith(f"{path}.") for r in self._reads):
            return View(getattr(self._target, name), self._reads, f"{path}.")
        raise AttributeError(f"the stage reads config.{path}, which it does not declare in `reads`")


ENVIRONMENT = ("stage", "executor", "hardware", "alerts", "outputs")
"""What every stage may look at without declaring it: it does not determine results."""


def view(config: Config, reads: tuple[str, ...]) -> Config:
    return cast(Config, View(config, (*reads, *ENVIRONMENT)))
