"""A real Slurm on this machine: munge, a controller, and two nodes that are both this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
PATIENCE = 60.0
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
JobRequeue=1
ReturnToService=2
KillWait=10
NodeName={first} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=8000 State=UNKNOWN
NodeName={second} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str | None:
    """Why there can be no Slurm here."""
    gone = [name for name in PROGRAMS if program(name) is None]
    return f"Slurm cannot be started, there is no {', '.join(gone)}: apt-get install slurm-wlm munge" if gone else None


def program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


NEEDS_SLURM = (
    pytest.mark.skipif(lacking() is not None, reason=lacking() or ""),
    pytest.mark.xdist_group("slurm"),
)
"""One cluster for all that need one."""


def fake_slurm(place: Path, refuses: str) -> None:
    """Slurm's commands in a directory: no job is known, and sbatch refuses each with these words. What it was asked
    for it writes into the file ``asked``."""
    sbatch = f'echo "$@" > asked; echo "sbatch: error: Batch job submission failed: {refuses}" >&2; exit 1'
    for name, text in (("sbatch", sbatch), ("squeue", "")):
        (place / name).write_text(f"#!/bin/sh\n{text}\n")
        (place / name).chmod(0o755)


def free_ports(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in opened]
    for one in opened:
        one.close()
    return ports


@contextmanager
def cluster(place: Path) -> Iterator[Path]:
    """Runs a Slurm for as long as the block lasts; gives its configuration, for SLURM_CONF."""
    for name in ("state", "munge"):
        (place / name).mkdir(parents=True)
    place.chmod(0o755)
    (place / "munge").chmod(0o700)
    key = place / "munge/key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    settings = place / "slurm.conf"
    host, user = socket.gethostname().partition(".")[0], pwd.getpwuid(os.getuid()).pw_name
    # Names that resolve without anybody's help, so that tasks of two nodes find each other.
    text = SETTINGS.format(
        place=place, host=host, user=user, ports=free_ports(3), first="127.0.0.1", second="127.0.0.2"
    )
    settings.write_text(text)
    munge = [f"--{name}={place}/munge/{name}" for name in ("pid-file", "log-file", "seed-file")]
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={place}/munge.socket", *munge],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", "127.0.0.1"],
        ["slurmd", "-D", "-N", "127.0.0.2"],
    ]
    environment = os.environ | {"SLURM_CONF": str(settings)}
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in daemons:
            with (place / f"{len(running)}.out").open("wb") as out:
                path = program(command[0])
                assert path is not None
                running.append(subprocess.Popen([path, *command[1:]], env=environment, stdout=out, stderr=out))
            if len(running) == 1:
                until(lambda: (place / "munge.socket").exists())
        until(lambda: idle(environment) == 2)
        yield settings
    finally:
        subprocess.run(["scancel", "--me"], env=environment, capture_output=True, check=False)
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def idle(environment: dict[str, str]) -> int:
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%t"], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.split().count("idle")


def until(reached: object, seconds: float = PATIENCE) -> None:
    assert callable(reached)
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.1)


def put_back(job: str) -> None:
    """Starts a job that was put back into the queue. Slurm lets it wait for two minutes; a few seconds are enough for a
    node to forget that it has killed the job, before which it would not start it again."""

    def waits() -> bool:
        command = ["squeue", "--noheader", f"--jobs={job}", "--format=%T"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "PENDING"

    until(waits)
    time.sleep(3)
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)
