"""Safety: what a release must not carry, and what it must say."""

from __future__ import annotations

from albor.audit import files
from albor.audit.facts import Facts
from albor.audit.item import Outcome, holds, item, listed

CARD = ("parameters", "vocab_size", "tokens", "steps", "tokenizer_sha256", "val_loss")
"""What a model card says of the training."""
MEASURED = ("val_ppl", "val_tokens")


@item("A-SAFE-01", "No file is a pickle", severity="critical")
def pickles(facts: Facts) -> Outcome:
    every = [path for run in facts.lineage for path in files.kept(run) if path.is_file()]
    bad = [f"{path.parent.parent.name}/{path.parent.name}/{path.name}" for path in every if files.is_pickle(path)]
    return holds(
        not bad, listed(bad) or f"{len(every)} files of artifacts and checkpoints, by their names and first bytes"
    )


@item("A-SAFE-02", "Weights are safetensors and nothing else", severity="critical")
def tensors(facts: Facts) -> Outcome:
    weights = [path for path in files.kept(facts.run) if path.suffix == ".safetensors"]
    bad = [f"{path.parent.name}/{path.name}: {why}" for path in weights if (why := files.torn_tensors(path))]
    return holds(
        bool(weights) and not bad, listed(bad) or f"{len(weights)} files are a header and the tensors it names"
    )


@item("A-SAFE-03", "No secret is in manifests, configs and metrics", severity="critical")
def secrets(facts: Facts) -> Outcome:
    from albor.data.secrets import secret

    runs = [*facts.lineage, *(run for made in facts.evaluations for run in (made.generations, made.run))]
    paths = [path for run in runs for path in (*files.records(run), *files.kept(run))]
    read = list(files.texts(paths))
    bad = [f"{kind} in {path.parent.name}/{path.name}" for path, text in read if (kind := secret(text))]
    return holds(not bad, listed(bad) or f"{len(read)} text files of {len(runs)} runs")


@item("A-SAFE-04", "What is released names no private path", severity="major")
def private_artifact(facts: Facts) -> Outcome:
    bad = files.private(files.shipped(facts.run))
    return holds(not bad, listed(bad) or f"{len(files.shipped(facts.run))} files of the artifact")


@item("A-SAFE-05", "The records name no private path", severity="minor")
def private_records(facts: Facts) -> Outcome:
    paths = [path for run in facts.lineage for path in files.records(run)]
    bad = files.private(paths)
    return holds(not bad, listed(bad) or f"{len(paths)} manifests and logs of metrics")


@item("A-SAFE-06", "No code is released", severity="critical")
def code(facts: Facts) -> Outcome:
    shipped = files.shipped(facts.run)
    bad = [
        path.name for path in shipped if path.suffix in files.CODE or (path.is_file() and path.stat().st_mode & 0o111)
    ]
    for path, text in files.texts(shipped):
        if path.suffix == ".json" and '"auto_map"' in text:
            bad.append(f"auto_map in {path.name}")
    return holds(not bad, listed(bad) or f"{len(shipped)} files, none of which runs or names a class to load")


@item("A-SAFE-07", "The artifact holds what was recorded and no more", severity="critical")
def recorded(facts: Facts) -> Outcome:
    there = files.shipped(facts.run)
    known = facts.run.manifest.files.keys()
    bad = [f"{path.name} is a link" for path in there if path.is_symlink()]
    bad += [str(name) for path in there if str(name := path.relative_to(facts.run.artifact)) not in known]
    return holds(
        not bad and bool(there), f"not recorded: {listed(bad)}" if bad else f"{len(there)} files, all in the manifest"
    )


@item("A-SAFE-08", "What a model card needs is recorded", severity="major")
def card(facts: Facts) -> Outcome:
    made, measured = facts.training.manifest.facts, facts.evaluation.facts
    missing = [key for key in CARD if made.get(key) is None] + [key for key in MEASURED if measured.get(key) is None]
    licences = sorted({row.licence for row in facts.corpus.sources})
    text = f"{len(CARD) + len(MEASURED)} figures; documents under {', '.join(licences)}"
    return holds(not missing and bool(licences), f"missing: {', '.join(missing)}" if missing else text)
