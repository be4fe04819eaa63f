"""The plan: every stage run from the sources to the target, what state it is in, what it costs, whether it may run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from albor.config.origins import Origins
from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.config import Config
from albor.contracts import Case, Finding, check_all
from albor.errors import AlborError
from albor.plan.missing import missing
from albor.plan.resolver import Resolver
from albor.plan.target import StageConfig, Target, replaced
from albor.runs.files import listing_digest
from albor.runs.manifest import EXTERNAL, Manifest, run_id
from albor.runs.store import Run, Store
from albor.stages import base as stages
from albor.stages.base import Cost, Facts, Upstream

State = Literal["new", "done", "stale", "interrupted", "failed", "running"]


@dataclass(frozen=True)
class External:
    """An input given by hand: a run's artifact, or a directory of files."""

    id: str
    path: Path
    facts: Facts
    digest: str | None
    stage: str


@dataclass(frozen=True)
class Node:
    """One stage run of a plan."""

    stage: stages.Stage
    config: Config
    choices: Mapping[str, str | None]
    origins: Origins
    inputs: Mapping[str, Node | External]
    identity: Mapping[str, str]
    id: str
    directory: Path
    run: Run | None

    @cached_property
    def state(self) -> State:
        return self._state[0]

    @cached_property
    def reason(self) -> str:
        """Why it is in this state."""
        return self._state[1]

    @cached_property
    def _state(self) -> tuple[State, str]:
        if self.run is None:
            return "new", "never built"
        manifest = self.run.manifest
        upstream = [name for name, i in self.inputs.items() if isinstance(i, Node) and i.state != "done"]
        if manifest.status == "done":
            if self.stage.action:
                return "new", "is done each time it is asked for"
            damage = self.run.damage()
            if damage:
                return "stale", damage
            if upstream:
                return "stale", f"its input {upstream[0]} is built again"
            if changed := self._changed_input():
                return "stale", f"its input {changed} has changed since"
            return "done", "nothing it depends on has changed"
        if manifest.status in ("interrupted", "running") and not upstream and (changed := self._changed_input()):
            return "new", f"its input {changed} has changed: starts again"
        if manifest.status == "interrupted" and self.stage.resumable and not upstream:
            return "interrupted", "goes on from what it has finished"
        if manifest.status == "running":
            return "running", "was started; resumes if that process is gone"
        if manifest.status == "failed":
            return "failed", manifest.error or "failed"
        return "new", "planned, not started" if manifest.status == "planned" else "was interrupted; starts again"

    def _changed_input(self) -> str | None:
        """The input whose bytes are not those that the run was made from, or is being made from."""
        assert self.run is not None
        refs = self.run.manifest.inputs.items()
        # What was given by hand a plan knows by its id, which says names, sizes and times: nothing is hashed here.
        recorded = {name: ref.digest for name, ref in refs if ref.digest and ref.stage not in EXTERNAL}
        return next((n for n, d in recorded.items() if n in self.inputs and d != digest(self.inputs[n])), None)

    @property
    def facts(self) -> Facts:
        return self.run.manifest.facts if self.run is not None and self.state == "done" else {}

    @property
    def input_facts(self) -> dict[str, Facts]:
        """What the inputs say of themselves; ``artifact`` is the digest of a built one's files."""
        known = ((name, i.facts, digest(i)) for name, i in self.inputs.items())
        return {name: {**facts, "artifact": sha} if sha else facts for name, facts, sha in known}

    @property
    def name(self) -> str:
        return f"{self.stage.name}/{self.directory.name}"

    @property
    def case(self) -> Case:
        """What contracts look at."""
        planned = {name: i.config for name, i in self.inputs.items() if isinstance(i, Node)}
        return Case(self.config, self.stage.name, self.input_facts, planned)

    @cached_property
    def findings(self) -> list[Finding]:
        return check_all(self.case) + list(missing(self.config, self.identity))

    @cached_property
    def cost(self) -> Cost:
        """What it will take; a model that is not made yet is as large as its config says."""
        planned = {
            name: {"parameters": i.config.model.num_parameters}
            for name, i in self.inputs.items()
            if isinstance(i, Node) and i.stage.makes == "model"
        }
        return self.stage.cost(self.config, {**planned, **{n: f for n, f in self.input_facts.items() if f}})


def digest(source: Node | External) -> str | None:
    if isinstance(source, External):
        return source.digest
    return source.run.manifest.digest if source.run else None


@dataclass
class Plan:
    """Nodes in the order in which they run; the target is the last."""

    nodes: list[Node]
    texts: tuple[str, ...] = ()

    @property
    def target(self) -> Node:
        return self.nodes[-1]

    @property
    def errors(self) -> list[tuple[Node, Finding]]:
        """What refuses the plan."""
        return self._found("error")

    @property
    def warnings(self) -> list[tuple[Node, Finding]]:
        return self._found("warning")

    def _found(self, severity: str) -> list[tuple[Node, Finding]]:
        """Each finding once, though several runs of a stage have it; one that is done needs no contract any more."""
        found: dict[tuple[str, Finding], tuple[Node, Finding]] = {}
        for node in self.nodes:
            for finding in node.findings if node.state != "done" else ():
                if finding.severity == severity:
                    found.setdefault((node.stage.name, finding), (node, finding))
        return list(found.values())


@dataclass
class Planner:
    """Plans targets that share a store and a config directory; what two targets share is worked out once."""

    resolver: Resolver
    from_nothing: bool = False
    """Plans as if nothing was made yet, whatever the store has."""
    _stores: dict[str, Store] = field(default_factory=dict)
    _nodes: dict[Any, Node] = field(default_factory=dict)
    _json: dict[tuple[int, str], tuple[Any, str]] = field(default_factory=dict)
    _identities: dict[tuple[str, int, int, int, int], tuple[Any, Mapping[str, str]]] = field(default_factory=dict)

    def plan(self, texts: tuple[str, ...]) -> Plan:
        """Raises ConfigRefused with every problem of the config; contracts are findings of the plan's nodes."""
        target = Target(self.resolver, texts)
        problems = target.check()
        if problems:
            raise ConfigRefused(problems)
        ordered = Ordered()
        self._node(target, target.stage, ordered, ())
        return Plan(list(ordered.by_place.values()), texts)

    def look_again(self) -> None:
        """Has runs that were not done looked for again in their stores: others, or this process's jobs, made them."""
        self._nodes = {memo: node for memo, node in self._nodes.items() if node.state == "done"}
        self._stores.clear()

    def _node(self, target: Target, name: str, ordered: Ordered, below: tuple[str, ...]) -> Node:
        known = ordered.by_stage.get((id(target), name))
        if known is not None:
            return known
        stage, chosen = stages.find(name), target.config(name)
        config = chosen.config
        inputs: dict[str, Node | External] = {}
        for key, upstream in stage.upstream(config).items():
            given = replaced(config, key) or upstream.default
            if given:
                inputs[key] = self._external(config, given, upstream.makes)
            elif upstream.target is not None:
                other = target.others[name, key]
                inputs[key] = self._node(other, other.stage, ordered, ())
            else:
                refuse_upstream(name, key, upstream, (*below, name))
                assert upstream.stage is not None
                inputs[key] = self._node(target, upstream.stage, ordered, (*below, name))
        if config.init_from and stage.reads_key("init_from") and "init_from" not in inputs:
            inputs["init_from"] = self._external(config, config.init_from, "model")
        ids = {k: i.id for k, i in inputs.items()}
        memo = (name, id(config), tuple(sorted(ids.items())))
        node = self._nodes.get(memo)
        if node is None:
            node = self._make(stage, chosen, inputs, ids)
            self._nodes[memo] = node
        return ordered.add(target, name, node)

    def _make(
        self,
        stage: stages.Stage,
        chosen: StageConfig,
        inputs: Mapping[str, Node | External],
        ids: dict[str, str],
    ) -> Node:
        config = chosen.config
        identity = self._identity(stage, config)
        fields = stages.determining(stage, config, self._encoded)
        made = run_id(stage.name, stage.version, fields, dict(identity), ids)
        store = self.store(config.outputs)
        directory = store.directory(stage.name, config.name or stage.label(config), made)
        run = None if self.from_nothing else store.get(directory)
        return Node(stage, config, chosen.choices, chosen.origins, inputs, identity, made, directory, run)

    def _identity(self, stage: stages.Stage, config: Config) -> Mapping[str, str]:
        key = (stage.name, id(config.data), id(config.tokenizer), id(config.evals), id(config.task))
        if key not in self._identities:
            self._identities[key] = (config, stage.identity(config))
        return self._identities[key][1]

    def _encoded(self, config: Config, path: str) -> str:
        """``stages.encoded``; sections that points share are encoded once."""
        section = getattr(config, path.partition(".")[0])
        key = (id(section), path)
        if key not in self._json:
            self._json[key] = (section, stages.encoded(config, path))
        return self._json[key][1]

    def store(self, outputs: str) -> Store:
        return self._stores.setdefault(outputs, Store(Path(outputs)))

    def _external(self, config: Config, given: str, kind: str) -> External:
        """A run by name, or a directory of files, known by their names, sizes and times. Raises AlborError."""
        path = Path(given.removeprefix("file://"))
        if path.is_dir() and not (path / "manifest.yaml").exists():
            names = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
            return External(f"files:{listing_digest(path, names)[:12]}", path.absolute(), shape(path), None, "files")
        if given.startswith("hf:"):
            if kind != "model":
                raise AlborError(f"{given}: only weights are taken from the Hub by name", "give a run or a directory")
            return External(given, Path(given.removeprefix("hf:")), {}, None, "hub")
        run = self.store(config.outputs).find(given)
        manifest: Manifest = run.manifest
        if manifest.status != "done":
            raise AlborError(
                f"the run {given} is {manifest.status}, not done", "finish it first", place=str(run.directory)
            )
        makes = stages.find(manifest.stage).makes if manifest.stage in stages.names() else manifest.stage
        if makes != kind:
            article = "an" if kind[0] in "aeiou" else "a"
            fix = f"choose a run that made {article} {kind}; `albor runs` lists them"
            raise AlborError(
                f"{given} is a run of {manifest.stage}, which makes {makes}", fix, place=str(run.directory)
            )
        facts = {**manifest.facts, **shape(run.artifact)}
        return External(manifest.id, run.artifact, facts, manifest.digest, manifest.stage)


@dataclass
class Ordered:
    """The nodes of a plan in the order in which they run, each once: several of its targets may have it."""

    by_place: dict[Path, Node] = field(default_factory=dict)
    by_stage: dict[tuple[int, str], Node] = field(default_factory=dict)

    def add(self, target: Target, stage: str, node: Node) -> Node:
        """The node, or the one that is there already for the same run."""
        first = self.by_place.setdefault(node.directory, node)
        self.by_stage[id(target), stage] = first
        return first


def refuse_upstream(stage: str, name: str, upstream: Upstream, below: tuple[str, ...]) -> None:
    """Raises ConfigRefused when a stage is named that makes something else than this input, or is made from it."""
    assert upstream.stage is not None
    key = upstream.key or f"inputs.{name}"
    if upstream.stage in below:
        circle = " ← ".join([*below[below.index(upstream.stage) :], upstream.stage])
        fix = f"name another stage: {key}=pretrain"
        raise ConfigRefused([Problem("E-VALUE", key, f"a stage cannot be made from itself: {circle}", fix)])
    makes = stages.find(upstream.stage).makes
    if makes != upstream.makes:
        cause = f"{upstream.stage} makes {makes}, and {stage} needs a {upstream.makes}"
        makers = ", ".join(s for s in stages.names() if stages.find(s).makes == upstream.makes)
        raise ConfigRefused([Problem("E-VALUE", key, cause, f"name a stage that does: {makers}")])


def shape(directory: Path) -> dict[str, Any]:
    """What a checkpoint's config.json says of its model, for contracts; nothing when there is none."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(config, dict):
        return {}
    nested = config.get("rope_parameters")
    return {"model_config": (nested if isinstance(nested, dict) else {}) | config}
