"""What the architecture promises: hashes, ids, contracts, dependencies."""

from __future__ import annotations

from dataclasses import replace

from albor.audit.facts import Facts
from albor.audit.ids import following, structured
from albor.audit.item import Outcome, Unknowable, beside, holds, item, listed, unknown
from albor.audit.package import imports
from albor.contracts import check_all
from albor.runs.checkpoints import run_of
from albor.runs.manifest import Manifest
from albor.stages import base as stages


@item("A-INV-01", "Every checkpoint is hashed", severity="critical")
def hashed(facts: Facts) -> Outcome:
    from albor.training.checkpoint.format import Damaged, read_index
    from albor.training.checkpoint.verify import verify_files

    if not facts.checkpoints:
        return beside("the run keeps no checkpoint")
    bad, count = [], 0
    for path in facts.checkpoints:
        try:
            check = verify_files(path, read_index(path)[1])
        except Damaged as error:
            bad.append(f"{path.name}: {error.damage}")
            continue
        count += 1
        if not check.ok:
            bad.append(f"{path.name}: {check.text}")
    return holds(not bad, listed(bad) or f"{count} checkpoints, every file with the hash written beside it")


@item("A-INV-02", "The config did not change after launch", severity="critical")
def unchanged(facts: Facts) -> Outcome:
    if not facts.checkpoints:
        return beside("the run keeps no checkpoint that says how it was launched")
    run, other = facts.training, []
    for path in facts.checkpoints:
        launched = run_of(path)
        if launched.id != run.manifest.id or basis(launched) != basis(run.manifest):
            other.append(path.name)
    text = f"{len(facts.checkpoints)} checkpoints hold the manifest's config, as far as it determines the result"
    return holds(not other, f"another in {listed(other)}" if other else text)


def basis(run: Manifest) -> str:
    """What determines a run's result, of its config. Raises Unknowable."""
    config, problems = structured(run)
    if config is None:
        raise Unknowable(f"the config of {run.id} is not one of this albor's: {problems[0].path}: {problems[0].cause}")
    return stages.determining(stages.find(run.stage), config)


@item("A-INV-03", "Every run id follows from its manifest", severity="critical")
def ids(facts: Facts) -> Outcome:
    bad, known, older = [], 0, []
    for run in facts.lineage:
        made = run.manifest
        facts.config(run)  # raises Unknowable where this albor cannot read it
        found = following(made)
        if found is None:
            older.append(made.stage)
            continue
        known += 1
        if found != made.id:
            bad.append(f"{made.stage}: {made.id} should be {found}")
    if older and not bad:
        return unknown(f"another version of albor made {', '.join(older)}: their ids follow from other fields")
    return holds(not bad, listed(bad) or f"{known} ids, worked out again")


@item("A-INV-04", "Every recorded config is one that this albor reads", severity="major")
def readable(facts: Facts) -> Outcome:
    found = {run.manifest.stage: structured(run.manifest)[1] for run in facts.lineage}
    bad = [f"{stage}: {problems[0].path}: {problems[0].cause}" for stage, problems in found.items() if problems]
    return holds(not bad, listed(bad) or f"{len(found)} configs, without a problem")


@item("A-INV-05", "Every contract holds for the recorded configs", severity="critical")
def contracts(facts: Facts) -> Outcome:
    bad = [f"{found.id}: {found.message}" for _, found in facts.findings if found.severity == "error"]
    warnings = sorted({found.id for _, found in facts.findings if found.severity == "warning"})
    return holds(not bad, listed(bad) or f"{len(facts.lineage)} runs; warnings: {', '.join(warnings) or 'none'}")


@item("A-INV-06", "Contracts that were let through are named", severity="major")
def allowed(facts: Facts) -> Outcome:
    silent, named = [], set()
    for run in facts.lineage:
        case = facts.case(run)
        broken = {f.id for f in check_all(replace(case, cfg=replace(case.cfg, allow=()))) if f.severity == "error"}
        waived = broken.intersection(case.cfg.allow)
        named |= waived.intersection(run.manifest.allowed)
        silent += [
            f"{contract} by {run.directory.name}" for contract in sorted(waived.difference(run.manifest.allowed))
        ]
    return holds(
        not silent,
        f"let through in silence: {listed(silent)}" if silent else f"named: {', '.join(sorted(named)) or 'none'}",
    )


@item("A-INV-07", "The package imports nothing undeclared", severity="major")
def dependencies(facts: Facts) -> Outcome:
    found = imports()
    if found is None:
        return unknown("albor is not installed as a package, so it declares nothing")
    absent = f"; not installed here: {', '.join(found.absent)}" if found.absent else ""
    text = f"{found.modules} packages, all declared or brought along by one that is{absent}"
    return holds(not found.undeclared, f"undeclared: {', '.join(found.undeclared)}" if found.undeclared else text)


@item("A-INV-08", "Model, rows and tokenizer belong together", severity="critical")
def tokenizer(facts: Facts) -> Outcome:
    runs = [facts.upstream("pack"), facts.training]
    hashes = {run.manifest.stage: run.manifest.facts.get("tokenizer_sha256") for run in runs}
    kept = facts.run.manifest.files.get("tokenizer.json")
    hashes["artifact"] = kept.sha256 if kept else None
    sizes = {run.manifest.facts.get("vocab_size") for run in runs} | {facts.settings.model.vocab_size}
    same = len(set(hashes.values())) == 1 and None not in hashes.values() and len(sizes) == 1
    shown = ", ".join(f"{what} {str(sha)[:12]}" for what, sha in hashes.items())
    return holds(same, f"tokenizer.json: {shown}; vocabulary {', '.join(f'{size:,}' for size in sizes if size)}")


@item("A-INV-09", "config.json describes the model that was asked for", severity="critical")
def described(facts: Facts) -> Outcome:
    from albor.models.llama_config import read_config

    asked, written = facts.config(facts.run).model, read_config(facts.run.artifact)
    # A config.json knows nothing of dropout: it is of the training alone.
    keys = [key for key in vars(asked) if key != "dropout" and getattr(asked, key) != getattr(written, key)]
    text = f"{asked.num_parameters:,} parameters in {asked.num_tensors} tensors"
    return holds(not keys, f"it differs in {', '.join(keys)}" if keys else text)


@item("A-INV-10", "Every stage is of the version that this albor has", severity="minor")
def versions(facts: Facts) -> Outcome:
    bad = []
    for run in facts.lineage:
        facts.config(run)  # a stage that is not known has no version
        now = stages.find(run.manifest.stage).version
        if run.manifest.version != now:
            bad.append(f"{run.manifest.stage} {run.manifest.version}, now {now}")
    return holds(
        not bad, listed(bad) or ", ".join(f"{run.manifest.stage} {run.manifest.version}" for run in facts.lineage)
    )
