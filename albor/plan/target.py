"""One command line turned into a typed config for every stage of its target.

Value overrides reach the target, or the nearest stage upstream that reads the key. The choices of model, data,
tokenizer, hardware, trainer, executor, tracking, alerts, eval, task and debug, and the seed, reach every stage, and so
does a value that a file leaves open (``???``). ``up.STAGE.KEY=…`` addresses one. An experiment that names a stage
belongs to it, and only those choices of it go further; one that names none reaches every stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hydra.core.override_parser.types import Override

from albor.config.compose import Composed
from albor.config.origins import Origins
from albor.config.overrides import Overrides, parse, split
from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.config import Config
from albor.config.suggest import nearest
from albor.plan.others import ALIKE, ASIDE, CHAIN, EVERYWHERE, OWN, Line, line_of
from albor.plan.refusals import without_alert, without_choice, without_echoes
from albor.plan.resolver import Resolver
from albor.plan.unheard import unheard
from albor.stages import base as stages
from albor.stages.base import Upstream


@dataclass(frozen=True)
class StageConfig:
    """A stage's config and how it was chosen."""

    config: Config
    choices: dict[str, str | None]
    origins: Origins
    """Where its values came from."""


class Target:
    """The configs of one target's stages, made when asked for. Raises ConfigRefused with every problem."""

    def __init__(self, resolver: Resolver, texts: Sequence[str], part: Line | None = None) -> None:
        """``part`` is given for a target that another one is made from."""
        self.resolver = resolver
        self.part = part or Line()
        composer = resolver.composer
        self.overrides = split(tuple(texts), composer.groups, composer.bad_choice)
        said = self.part.said
        self.overrides.values = [
            (key, replace(o, input_line=said.get(str(o.input_line), o.input_line))) for key, o in self.overrides.values
        ]
        self.choices = {g: c for g, (c, _) in self.overrides.choices.items()}
        self.problems: list[Problem] = list(self.overrides.problems)
        if any(p.code == "E-CHOICE" and p.path == "stage" for p in self.problems):
            raise ConfigRefused(self.problems)  # of the default stage the rest may not hold
        try:
            whole = self._composed(self.choices)
            self.stage = str(whole.choices["stage"])
            if self.stage not in stages.names():
                cause = f"there is no module albor/stages/{self.stage}.py behind this choice"
                raise ConfigRefused(
                    [Problem("E-CHOICE", "stage", cause, f"the stages are {', '.join(stages.names())}")]
                )
            self.experiment_stage = self._experiment_stage(whole)
        except ConfigRefused as refused:
            raise ConfigRefused([*self.problems, *refused.problems]) from None
        self.whole = whole
        """What all choices together compose to."""
        self.problems += [*without_choice(self.overrides, whole), *without_alert(self.overrides, whole)]
        self.chain = {g: (whole.choices if self.choices.get("experiment") else self.choices).get(g) for g in CHAIN}
        self.own = {stage: self._upstream_overrides(stage, whole) for stage in self.overrides.upstream}
        """What ``up.STAGE`` says, by stage."""
        self._received: dict[str, set[int]] = {}
        self._stage_choices: dict[str, dict[str, str | None]] = {}
        self._known: dict[str, StageConfig] = {}
        self.complete = True
        """Whether every stage upstream is known: else a key may have readers that are not."""
        self._levels = self._spread()

    def _composed(self, choices: dict[str, str | None]) -> Composed:
        return self.resolver.composer.compose(choices)

    def _experiment_stage(self, whole: Composed) -> str | None:
        """The stage that the chosen experiment belongs to; None when it names none, or there is no experiment."""
        if not self.choices.get("experiment"):
            return None
        if "stage" in self.choices:
            whole = self._composed({g: c for g, c in self.choices.items() if g != "stage"})
        return whole.choices["stage"] if "stage" in whole.overridden else None

    def _upstream_overrides(self, stage: str, whole: Composed) -> Overrides:
        """What ``up.STAGE`` says, split as if the stage were the target."""
        composer = self.resolver.composer
        own = split(tuple(self.overrides.upstream[stage]), composer.groups, composer.bad_choice)
        own.problems += [*without_choice(own, whole), *without_alert(own, whole)]
        own.values = [(key, replace(o, input_line=f"up.{stage}.{o.input_line}")) for key, o in own.values]
        own.problems = [replace(p, origin=str(p.origin).replace("override ", f"override up.{stage}.", 1))
                        for p in own.problems]  # fmt: skip
        foreign = [text for group in ("stage", "experiment") if group in own.choices for text in own.choices[group][1:]]
        for text in (*foreign, *own.hydra, *(f"up.{s}.{t}" for s, texts in own.upstream.items() for t in texts)):
            cause = f"`{text}` cannot be said of one stage upstream"
            origin = f"override up.{stage}.{text}"
            own.problems.append(Problem("E-OVERRIDE", f"up.{stage}", cause, "give it without up", origin))
        return own

    def _spread(self) -> list[list[str]]:
        """Walks upstream by distance from the target and hands every value, and every choice that does not reach
        everything, to the nearest stages that read it. What nobody reads stays with the target."""
        reads = self.resolver.reads
        values = dict(enumerate(key for key, _ in self.overrides.values))
        shared = {i for i, key in values.items() if self._is_shared(key)}
        left = {i: key for i, key in values.items() if i not in shared}
        groups = [g for g in self.choices if g not in (*CHAIN, "stage", "experiment")]
        levels, seen, heard = [[self.stage]], {self.stage}, set[int]()
        farther = list[str]()
        while levels[-1]:
            level = levels[-1]
            taken = {i for i, key in left.items() if any(reads(s, key) for s in level)}
            chosen = {g: self.choices[g] for g in groups if any(reads(s, g) for s in level)}
            for stage in level:
                self._received[stage] = shared | {i for i in taken if reads(stage, left[i])}
                self._stage_choices[stage] = {g: c for g, c in chosen.items() if reads(stage, g)}
            heard |= self._replace_inputs(level, left)
            left = {i: key for i, key in left.items() if i not in taken}
            groups = [g for g in groups if g not in chosen or self.part.widely]
            wanted = dict.fromkeys([*(up for stage in level for up in self._upstream_of(stage)), *farther])
            above = {s: self._ancestors(s) for s in wanted}
            # A stage that another of the level is made from is farther away: it comes above that one.
            farther = [s for s in wanted if s not in seen and any(s in above[t] for t in wanted)]
            levels.append([s for s in wanted if s not in seen and s not in farther])
            seen.update(levels[-1])
        left = {i: key for i, key in left.items() if i not in heard}
        self._received[self.stage] |= left.keys()
        self._stage_choices[self.stage] |= {g: self.choices[g] for g in groups}
        self._known.pop(self.stage, None)
        self.unread = {i: key for i, key in left.items() if key not in OWN}
        readable = (g for g in self.choices if g not in (*CHAIN, "stage", "experiment") and self.resolver.readers(g))
        self.unread_groups = [g for g in readable if not any(reads(s, g) for s in seen)]
        return levels[:-1]

    def _is_shared(self, key: str) -> bool:
        head = key.partition(".")[0]
        return head in EVERYWHERE or key in ASIDE or (self.part.widely and head in ALIKE)

    def _ancestors(self, stage: str, below: tuple[str, ...] = ()) -> set[str]:
        """Every stage upstream of this one, as far as the choices tell."""
        known = stage in self._known
        draft = self._draft(stage) if stage in stages.names() and stage not in below else None
        if not known:
            self._known.pop(stage, None)
        direct = (
            {made.stage for _, made in own_inputs(stage, draft) if made.stage in stages.names()} if draft else set()
        )
        return direct.union(*(self._ancestors(s, (*below, stage)) for s in direct))

    def _replace_inputs(self, level: list[str], left: dict[int, str]) -> set[int]:
        """Hands ``inputs.NAME=…`` to the stages of the level that have such an input. In the end every stage of the
        target has it, so that no two of them work on different artifacts."""
        taken = set()
        for i, key in left.items():
            head, _, name = key.partition(".")
            name = name.partition(".")[0]
            if head != "inputs":
                continue
            for stage in level:
                draft = self._draft(stage)
                found = stages.find(stage)
                if draft is not None and (name == found.instead or name in found.inputs(draft)):
                    self._received[stage].add(i)
                    self._known.pop(stage, None)
                    taken.add(i)
        return taken

    def _upstream_of(self, stage: str) -> Iterator[str]:
        """The stages that make the inputs of this one, but for those inputs that are given."""
        config = self._draft(stage)
        if config is None:
            self.complete = False
            return
        for name, upstream in own_inputs(stage, config):
            if upstream.stage not in stages.names():
                key = upstream.key or f"inputs.{name}"
                guess = nearest(str(upstream.stage), stages.names())
                fix = f"did you mean '{guess}'? " if guess else ""
                fix += f"The stages are {', '.join(stages.names())}"
                cause = f"'{upstream.stage}' is not a stage"
                self.problems.append(Problem("E-VALUE", key, cause, fix, self.config(stage).origins.find(key)))
            else:
                yield upstream.stage

    def _draft(self, stage: str) -> Config | None:
        """A stage's config; when it has problems, which are reported later, the one that the choices alone give;
        None when those have problems too."""
        try:
            return self.config(stage).config
        except ConfigRefused:
            received, self._received[stage] = self._received.get(stage, set()), set()
            own = self.own.pop(stage, None)
        try:
            return self.config(stage).config
        except ConfigRefused:
            return None
        finally:
            self._received[stage] = received
            self._known.pop(stage, None)
            if own:
                self.own[stage] = own

    def stages(self) -> list[str]:
        """The target's stage and all upstream of it, nearest first."""
        return [s for level in self._levels for s in level]

    def received(self, stage: str) -> set[int]:
        """Which of the command line's values reach a stage, by their place in ``overrides.values``."""
        return self._received.get(stage, set())

    def fills(self, key: str) -> bool:
        """Whether the files leave the key to the command line: then its value reaches every stage."""
        return self.resolver.fills(self.whole, key)

    def choices_of(self, stage: str) -> dict[str, str | None]:
        """The choices that reach a stage, but for those that reach every one."""
        return self._stage_choices.get(stage, {})

    @cached_property
    def others(self) -> dict[tuple[str, str], Target]:
        """By stage and input: the targets that this one is made from besides its own stages."""
        found = {}
        for stage in self.stages():
            draft = self._draft(stage)
            if draft is None:
                continue
            for name, upstream in stages.find(stage).upstream(draft).items():
                if upstream.target is not None and not replaced(draft, name):
                    line = line_of(self, stage, upstream)
                    found[stage, name] = Target(self.resolver, line.texts, line)
        return found

    def addresses(self) -> set[str]:
        """What ``up.`` may be followed by in this target and in those that it is made from."""
        found = set(self.stages()[1:])
        for (stage, name), other in self.others.items():
            draft = self._draft(stage)
            upstream = stages.find(stage).upstream(draft)[name] if draft else None
            found |= {upstream.address if upstream and upstream.address else other.stage, *other.addresses()}
        return found

    def check(self) -> list[Problem]:
        """Every problem of every stage, each once."""
        try:
            others = self.others.values()
        except ConfigRefused as refused:
            return without_echoes([*self.problems, *refused.problems])
        found = [self._as_said(problem) for problem in self._problems()]
        return without_echoes([*found, *(problem for other in others for problem in other.check())])

    def _as_said(self, problem: Problem) -> Problem:
        """A problem of a text that the user wrote in another form."""
        said = {f"override {text}": f"override {original}" for text, original in self.part.said.items()}
        return replace(problem, origin=said.get(str(problem.origin), problem.origin))

    def _problems(self) -> list[Problem]:
        found = list(self.problems)
        for stage in self.stages():
            try:
                self.config(stage)
            except ConfigRefused as refused:
                found += refused.problems
        return without_echoes([*found, *unheard(self)])

    def hears(self, key: str) -> bool:
        """Whether a stage of this target, or of one that it is made from, depends on a key or a group's choice."""
        own = any(self.resolver.reads(stage, key) for stage in self.stages())
        return own or any(other.hears(key) for other in self.others.values())

    def input_names(self, stage: str) -> list[str]:
        """What a stage is made from, as far as its config tells."""
        draft = self._draft(stage)
        return list(stages.find(stage).inputs(draft)) if draft else []

    def config(self, stage: str) -> StageConfig:
        """The typed config of one stage. Raises ConfigRefused."""
        if stage in self._known:
            return self._known[stage]
        choices = dict(self.chain)
        if self.experiment_stage in (stage, None):
            choices = {g: c for g, c in self.choices.items() if g in (*CHAIN, "experiment")}
        choices |= self._stage_choices.get(stage, {}) | {"stage": stage}
        own = self.own.get(stage, NOTHING)
        choices |= {g: c for g, (c, _) in own.choices.items() if g not in ("stage", "experiment")}
        composed = self._composed(choices)
        received, fills = self._received.get(stage, set()), self.resolver.fills
        values: list[tuple[str, Override]] = [
            (key, override)
            for i, (key, override) in enumerate(self.overrides.values)
            if i in received or fills(composed, key)
        ]
        if stage != self.stage and composed.tree.get("name") is not None:
            values.insert(0, ("name", parse("name=null")))  # the target's own, given by an experiment
        values += own.values
        key = (tuple(sorted(choices.items(), key=str)), tuple((k, o.input_line) for k, o in values))
        config = self.resolver.configs.get(key)
        origins = Origins(composed, self.resolver.composer, values)
        if own.problems:
            raise ConfigRefused(own.problems)
        if config is None:
            config = self.resolver.configs[key] = self.resolver.structure(stage, composed, values, origins)
        self._known[stage] = StageConfig(config, composed.choices, origins)
        return self._known[stage]


def own_inputs(stage: str, config: Config) -> Iterator[tuple[str, Upstream]]:
    """The inputs that stages of this target make: not those that are given, nor those of a target of their own."""
    for name, upstream in stages.find(stage).upstream(config).items():
        if upstream.target is None and upstream.stage is not None and not replaced(config, name):
            yield name, upstream


def replaced(config: Config, name: str) -> str | None:
    """What an input is said to be instead of being built."""
    return config.inputs.get(name) or (config.init_from if name == "init_from" else None)


NOTHING = Overrides()
