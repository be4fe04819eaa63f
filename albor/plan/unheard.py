"""What a command line says that nothing in its target, or in those that it is made from, depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from albor.config.location import short
from albor.config.origins import Origins
from albor.config.problems import ConfigRefused, Problem
from albor.config.suggest import nearest
from albor.plan.others import ALIKE, ASIDE, CHAIN, EVERYWHERE, OWN
from albor.stages import base as stages

if TYPE_CHECKING:
    from albor.plan.target import Target


def unheard(target: Target) -> Iterator[Problem]:
    """Inputs that no stage has, and values, choices and addresses that reach nothing."""
    yield from _unknown_inputs(target)
    for stage in list(target.own):  # a draft takes a stage out of it for a moment
        yield from _misdirected(target, stage)
    if target.experiment_stage in stages.names() and not target.part.texts:  # else it is said of the whole target
        yield from _idle_in_experiment(target, str(target.experiment_stage))
    if target.complete:
        yield from _idle_choices(target)
        yield from _idle_values(target)


def _unknown_inputs(target: Target) -> Iterator[Problem]:
    for stage in () if target.part.foreign else target.stages():
        try:
            made = target.config(stage)
        except ConfigRefused:
            continue  # reported by the target itself
        for name in sorted(made.config.inputs.keys() - target.input_names(stage) - _inputs_beyond(target)):
            yield _no_input(target, stage, name, made.origins)


def _idle_values(target: Target) -> Iterator[Problem]:
    for key, override in map(target.overrides.values.__getitem__, target.unread):
        if override.input_line in target.part.foreign or _passed_on(target, key):
            continue
        cause = f"nothing in stage={target.stage} or upstream of it depends on `{key}`"
        fix = "choose another stage, or leave it out"
        if readers := _readers(target, key):
            cause = f"several stages depend on `{key}`"
            fix = f"say which: {' or '.join(f'up.{s}.{override.input_line}' for s in readers)}"
        if key.startswith("inputs."):
            named = _no_input(target, target.stage, key.removeprefix("inputs."), None)
            cause, fix = named.cause, str(named.help)
        yield Problem("E-OVERRIDE", key, cause, fix, f"override {override.input_line}")


def _idle_in_experiment(target: Target, owner: str) -> Iterator[Problem]:
    """What an experiment says, by values or by choices that stay with its stage, that its stage does not depend on."""
    composer, whole = target.resolver.composer, target.whole
    said = list(Origins(whole, composer, ()).set_by("experiment"))
    said += [(group, file) for group, file in _chosen_by_experiment(target) if group not in (*CHAIN, "stage")]
    for key, place in said:
        readers = [] if key in (*ASIDE, *OWN) else target.resolver.readers(key)
        if readers and owner not in readers:
            near = [*(s for s in target.stages() if s in readers), *_readers(target, key)]
            reader = (near or readers)[0]
            cause = f"the experiment belongs to stage={owner}, which does not depend on `{key}`: it reaches nothing"
            fix = (
                f"name the stage that it is for (`override /stage: {reader}`) and give stage={owner} beside experiment="
            )
            fix += "; or name no stage, and it reaches every one"
            yield Problem("E-OVERRIDE", key, cause, fix, place)


def _chosen_by_experiment(target: Target) -> Iterator[tuple[str, str]]:
    """The groups whose choice the experiment overrides, and where."""
    composer, choices = target.resolver.composer, target.choices
    file = composer.file("experiment", str(choices["experiment"]))
    without = composer.compose({g: c for g, c in choices.items() if g != "experiment"}).overridden
    for group in sorted(target.whole.overridden - without):
        yield group, short(file) if file else group


def _passed_on(target: Target, key: str) -> bool:
    """Whether a value that no stage here reads reaches the targets that this one is made from."""
    head = key.partition(".")[0]
    others = target.others.values()
    return any(head in (*ALIKE, "inputs") if other.part.widely else other.hears(key) for other in others)


def _idle_choices(target: Target) -> Iterator[Problem]:
    """Choices on the command line that no stage depends on."""
    for group in target.unread_groups:
        choice, text = target.overrides.choices[group]
        if choice is not None and text not in target.part.foreign and not target.hears(group):
            readers = " or ".join(f"stage={name}" for name in target.resolver.readers(group))
            cause = f"nothing in stage={target.stage} or upstream of it depends on `{group}`"
            fix = f"choose a stage that does ({readers}), or leave it out"
            yield Problem("E-OVERRIDE", group, cause, fix, f"override {text}")


def _readers(target: Target, key: str) -> list[str]:
    """The stages of the other targets that depend on a key, each once."""
    found = (s for other in target.others.values() for s in other.stages() if target.resolver.reads(s, key))
    return list(dict.fromkeys(found))


def _misdirected(target: Target, stage: str) -> Iterator[Problem]:
    """What is wrong with ``up.STAGE`` that is not wrong with the stage's config."""
    if any(text.lstrip("+~").startswith(f"up.{stage}.") for text in target.part.foreign):
        return
    beyond = stage in target.addresses() - set(target.stages())
    if stage in target.stages() or (beyond and stage in stages.names()):
        for key, override in target.own[stage].values:
            heard = key.partition(".")[0] in (*EVERYWHERE, *OWN, "inputs") or key in ASIDE
            if not heard and not target.resolver.reads(stage, key):
                cause, fix = f"{stage} does not depend on `{key}`", "address the stage that does, or leave it out"
                yield Problem("E-OVERRIDE", key, cause, fix, f"override {override.input_line}")
    elif not beyond and (target.complete or stage not in stages.names()):
        known = [*target.stages(), *sorted(target.addresses() - set(target.stages()))]
        guess = nearest(stage, known)
        fix = f"did you mean up.{guess}? " if guess else ""
        fix += f"They are {', '.join(known)}"
        cause = f"'{stage}' is not a stage upstream of {target.stage}"
        yield Problem("E-OVERRIDE", f"up.{stage}", cause, fix)


def _inputs_beyond(target: Target) -> set[str]:
    """The inputs in the targets that this one is made from and that share its values."""
    shared = [other for other in target.others.values() if other.part.widely]
    return {name for other in shared for stage in other.stages() for name in other.input_names(stage)}


def _no_input(target: Target, stage: str, name: str, origins: Origins | None) -> Problem:
    own = [name for s in target.stages() for name in target.input_names(s)]
    known = list(dict.fromkeys([*own, *sorted(_inputs_beyond(target))]))
    guess = nearest(name, known)
    fix = f"did you mean inputs.{guess}? " if guess else ""
    fix += f"The inputs are {', '.join(known)}" if known else "leave it out: nothing here has an input"
    cause = f"{stage} has no input '{name}'" if name in known else f"no stage of this target has an input '{name}'"
    key = f"inputs.{name}"
    return Problem("E-OVERRIDE", key, cause, fix, origins.find(key) if origins else None)
