"""``albor leaderboard RUN --org --model --user``: an evaluation as a submission to the Big Code leaderboard."""

from __future__ import annotations

from pathlib import Path

from albor.cli.arguments import Arguments, bad
from albor.errors import AlborError
from albor.runs.lineage import input_path
from albor.runs.manifest import load, verify
from albor.runs.store import Store, outputs_of


def run(arguments: Arguments) -> int:
    usage = "albor leaderboard RUN --org ORG --model MODEL --user USER; RUN is an evaluation made with eval=leaderboard"
    if len(arguments.words) != 1:
        raise bad("`albor leaderboard` takes one evaluation", usage)
    absent = [flag for flag in ("org", "model", "user") if not getattr(arguments, flag)]
    if absent:
        raise bad(f"--{absent[0]} is missing", usage)
    found = Store(outputs_of(arguments.overrides)).find(arguments.words[0])
    if found.manifest.stage != "eval" or found.manifest.status != "done":
        cause = f"this is a run of {found.manifest.stage}, {found.manifest.status}, and no finished evaluation"
        raise AlborError(cause, usage, place=str(found.directory))
    for name, known in found.manifest.files.items():
        verify(found.artifact / name, known)

    from albor.evals.leaderboard import bundle

    said = load(input_path(found.directory, found.manifest.inputs["generations"]).parent)
    folder = bundle(
        found.artifact,
        said.config,
        found.manifest.facts.get("scores", {}),
        org=str(arguments.org),
        model=str(arguments.model),
        user=str(arguments.user),
        out=Path(arguments.out or "."),
    )
    print(folder)
    return 0
