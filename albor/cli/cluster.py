"""``executor=slurm``: every stage of a target as a Slurm job, all submitted at once, each after what it needs."""

from __future__ import annotations

import sys
from pathlib import Path

from albor.cli.points import LOOK, job_of, show_end, stoppable
from albor.cli.silence import Silence
from albor.config.schema.run import SlurmExecutor
from albor.errors import INTERRUPTED
from albor.executors.jobs import Job, Shape
from albor.executors.slurm_jobs import SlurmChain
from albor.plan.nodes import Plan
from albor.runs import sweeps
from albor.runs.lineage import chain, input_path
from albor.runs.manifest import Manifest
from albor.runs.store import exclusive
from albor.stages.base import find


def build_on_slurm(plan: Plan, config: SlurmExecutor, *, detach: bool) -> int:
    """Submits a job for every run that is not done, and waits for them; 0 when the target is done.

    Ctrl-C has the jobs save and ends them. With ``detach`` they are left to Slurm. Those of an earlier call that have
    not ended are waited for, not submitted again.

    Raises:
        AlborError: Slurm is not here, or does not take a job.
    """
    target = plan.target.directory
    place = sweeps.folder(Path(plan.target.config.outputs), target.name)
    todo = [(path, run) for path, run in chain(target, unfinished=True) if run.status != "done"]
    with exclusive(place, "target"), stoppable(place / "stop") as asked:
        queue, silence = SlurmChain(config, place / "jobs"), Silence(place)
        running: dict[str, Job] = {}
        codes: list[int] = []
        withdrawn, left = False, False
        try:
            for path, run in todo:
                job = job_of(path, place)
                above = [input_path(path, ref).parent.name for ref in run.inputs.values()]
                number = queue.start(job, shape(run), above)
                running[job.name] = job
                print(f"{run.stage}/{path.name}  Slurm job {number}", file=sys.stderr, flush=True)
            left = detach
            while running and not left:
                if asked and not withdrawn:
                    queue.withdraw()
                    withdrawn = True
                for ended in queue.ended(LOOK):
                    position = f"[{len(todo) - len(running) + 1}/{len(todo)}]"
                    done = show_end(running.pop(ended.name), ended, position, stopping=bool(asked))
                    silence.broken()
                    codes.append(0 if done else ended.code if ended.code in (2, INTERRUPTED) else 1)
                silence.look(running.values(), 0)
        finally:
            if not left:
                queue.close()
    if left:
        print("left to Slurm: `squeue --me` shows them, the same command waits for them", file=sys.stderr)
        return 0
    if "interrupt" in asked:
        return INTERRUPTED
    return next((code for code in codes if code), 0)


def shape(run: Manifest) -> Shape:
    """What a run needs of the cluster."""
    stage, trainer = find(run.stage), run.config["trainer"]
    nodes, processes = (trainer["nodes"], trainer["devices"]) if stage.distributed else (1, 1)
    return Shape(nodes, processes, processes if stage.accelerated and trainer["accelerator"] == "cuda" else 0)
