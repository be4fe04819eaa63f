"""Slurm's own commands: jobs are submitted, asked about and cancelled by them, as a user would.

How a job ended is read off a file that its script writes, because many clusters keep no accounts of it (``sacct``),
and off ``squeue`` where a job was killed and could write nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from albor.errors import AlborError
from albor.executors.tasks import died

FINAL = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    }
)
"""States that a job does not leave by itself."""
MAX_ARRAY = 1000
"""Jobs of one array that clusters allow by default (MaxArraySize 1001)."""
Options = Mapping[str, str | int | None]
"""Long options of sbatch: their names, and values; "" for a switch, null for one that is left out."""

REFUSED = {
    "partition": "invalid partition",
    "account": "invalid account",
    "qos": "invalid qos",
    "gres": "invalid generic resource",
    "constraint": "invalid feature",
    "exclude": "invalid node name",
}
"""What Slurm says of an option that it does not take."""
SILENT = ("Unable to contact slurm controller", "Connection", "Socket timed out", "Zero Bytes", "cluster is down")
"""What Slurm's commands say when the cluster does not answer."""

SCRIPT = """\
#!/bin/bash
# Written by albor. Signals are handed on to the command; its exit code is what the file says.
{setup}
{select}
rm -f "$ended"
trap 'told=1; kill -USR1 $pid 2>/dev/null' USR1
trap 'told=1; kill -TERM $pid 2>/dev/null' TERM
"${{command[@]}}" >> "$log" 2>&1 < /dev/null &
pid=$!
told=1 code=129
while [ -n "$told" ] && [ $code -gt 128 ]; do told=; wait $pid; code=$?; done  # a signal ends a wait
echo $code > "$ended.new" && mv "$ended.new" "$ended"
exit $code
"""


class SlurmDown(AlborError):
    """The cluster does not answer."""

    exit_code = 1


def needed(asker: str) -> None:
    """Raises AlborError when Slurm's commands are not here."""
    if not (shutil.which("sbatch") and shutil.which("squeue")):
        cause = f"{asker} needs Slurm's sbatch and squeue, which are not on the PATH here"
        kind = asker.partition("=")[0]
        fix = {"executor": "executor=local", "hydra/launcher": "hydra/launcher=joblib"}[kind]
        raise AlborError(cause, f"start it on a login node of the cluster, or set {fix}")


def script(commands: Sequence[tuple[Sequence[str], Path, Path]], setup: Sequence[str] = ()) -> str:
    """A job's script, or an array's.

    Args:
        commands: each task's command, the file its output is appended to, and the one that says how it ended.
        setup: shell lines before it.
    """
    cases = "\n".join(
        f"{number}) command=({shlex.join(command)}); log={shlex.quote(str(log))}; ended={shlex.quote(str(ended))};;"
        for number, (command, log, ended) in enumerate(commands)
    )
    select = f"case ${{SLURM_ARRAY_TASK_ID:-0}} in\n{cases}\nesac"
    return SCRIPT.format(setup="\n".join(setup), select=select)


def submit(path: Path, text: str, options: Options, section: str, elsewhere: Mapping[str, str] | None = None) -> str:
    """Submits a script, kept at ``path``; the job's number.

    Args:
        section: of the config, where the script's options are set.
        elsewhere: the key of an option that is not called so there.

    Raises:
        AlborError: Slurm does not take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    given = [
        f"--{name}" if value == "" else f"--{name}={value}" for name, value in options.items() if value is not None
    ]
    try:
        said = slurm("sbatch", "--parsable", *given, str(path))
    except SlurmDown:
        raise
    except AlborError as error:
        fix = "`sinfo` lists the partitions with their limits and nodes, `scontrol show partition` what they take"
        said = error.cause.lower()
        wrong = next((name for name, words in REFUSED.items() if words in said and options.get(name)), None)
        key = (elsewhere or {}).get(wrong, f"{section}.{wrong}") if wrong else section
        place = f"{key}={options[wrong]}" if wrong else section
        raise AlborError(error.cause, f"correct {key}: {fix}", place=place) from None
    return said.strip().partition(";")[0]


def states() -> dict[str, str]:
    """The state of every job of this user's that Slurm knows: by number, with the task's for arrays (17_3)."""
    lines = slurm("squeue", "--noheader", "--array", "--states=all", "--format=%i %T", "--me")
    return dict(line.split() for line in lines.splitlines() if line.strip())


def cancel(jobs: Sequence[str], *, waiting: bool = False) -> None:
    """Ends jobs, or only those that have not begun: the others are told to (SIGTERM), and killed when they do not."""
    if jobs:
        only = ["--state=PENDING"] if waiting else []
        subprocess.run(["scancel", *only, *jobs], capture_output=True, env=outside(), check=False)


def slurm(*command: str) -> str:
    """What one of Slurm's commands prints. Raises SlurmDown when the cluster does not answer, AlborError when it
    refuses."""
    done = subprocess.run(command, capture_output=True, text=True, env=outside(), check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        cause = f"Slurm's {command[0]} fails: {lines[-1]}"
        if any(words in done.stderr for words in SILENT):
            fix = "`sinfo` says whether the cluster is up; finished runs are kept, the same command goes on"
            raise SlurmDown(cause, fix)
        raise died(cause, "finished runs are kept, the same command goes on")
    return done.stdout


def outside() -> dict[str, str]:
    """This process's environment without what Slurm tells a job of itself: a job that it submits would take that for
    its own. What a user tells sbatch (SBATCH_ACCOUNT) stays."""
    kept = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_DEBUG_FLAGS")
    return {k: v for k, v in os.environ.items() if k in kept or not k.startswith(("SLURM_", "SRUN_"))}
