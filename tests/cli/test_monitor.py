"""``albor monitor``: a real directory, held and written by a real process that is also really killed."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from albor.cli.chart import chart
from albor.cli.completion import answers
from albor.cli.screen import screen
from albor.cli.watch import SILENCE, Watch
from albor.plan.apply import prepare
from albor.plan.nodes import Planner
from albor.runs import evaluations, manifest
from albor.runs.metrics import NAME, MetricsLog

STEPS = 100
RUNNER = """
import os, sys, time
from pathlib import Path
from albor.runs import environment, manifest
from albor.runs.metrics import MetricsLog
from albor.runs.store import exclusive

directory = Path(sys.argv[1])
with exclusive(directory), MetricsLog(directory) as log:
    run = manifest.load(directory).to("running", environment=environment.describe(), started=time.time())
    manifest.save(directory, run)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("end"):
            break
        step = int(line)
        log({"step": step, "tokens": step * 512, "loss": 9 / step, "lr": 1e-3, "tokens_per_second": 1024.0})
        print(step, flush=True)
    manifest.save(directory, run.to("done", finished=time.time()))
"""


@pytest.fixture
def directory(planner: Planner, tmp_path: Path) -> Path:
    """A planned pretrain run of a hundred steps, in an empty working directory."""
    plan = planner.plan(("stage=pretrain", f"trainer.max_steps={STEPS}", "trainer.warmup_steps=5"))
    prepare(plan)
    return (tmp_path / plan.target.directory).resolve()


def line(step: int, **more: float) -> dict[str, float]:
    return {
        "step": step,
        "tokens": step * 512,
        "loss": 10 / step,
        "grad_norm": 1.0,
        "tokens_per_second": 1024.0,
        **more,
    }


def to(directory: Path, status: manifest.Status, **changes: object) -> None:
    run = manifest.load(directory).to(status, **{"started": time.time() - 60, **changes})
    manifest.save(directory, run)


@pytest.fixture
def runner(directory: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that holds the run and writes the steps it is told."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def tell(process: subprocess.Popen[str], *steps: int) -> None:
    assert process.stdin is not None and process.stdout is not None
    for step in steps:
        process.stdin.write(f"{step}\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"{step}\n"


def shown(directory: Path, width: int = 100, now: float | None = None) -> str:
    watch = Watch(directory)
    watch.poll()
    return "\n".join(screen(watch, width, now))


# --- how a run is ---


def test_a_run_from_plan_to_end(directory: Path, runner) -> None:
    assert "planned, not started" in shown(directory) and "no metrics yet" in shown(directory)
    process = runner()
    assert "running" in shown(directory) and "no line yet" in shown(directory)
    tell(process, *range(1, 41))
    out = shown(directory)
    for words in ("running", "step 40/100", "40%", "20,480 tokens", "30 s left", "last line", "1.000e-03", "1,024",
                  "loss       0.2250  lowest 0.2250 at 40"):  # fmt: skip
        assert words in out, words
    assert process.stdin is not None
    process.stdin.write("end\n")
    process.stdin.close()
    assert process.wait(30) == 0
    out = shown(directory)
    assert out.splitlines()[0].endswith("  done") and "left" not in out and "took" in out


def test_a_killed_run_is_dead_and_a_resumed_one_runs_again(directory: Path, runner, albor) -> None:
    process = runner()
    tell(process, 1, 2, 3)
    watch = Watch(directory)
    watch.poll()
    assert watch.verdict() == "running" and not watch.ended and watch.left() is not None
    process.kill()
    process.wait()
    watch.poll()
    assert watch.left() is None
    assert watch.verdict() == f"dead: its process {process.pid} is gone; the same command resumes"
    assert "  dead  " in albor("runs").out and "give its command again" in albor("verify", directory.name).err
    tell(runner(), 2)
    assert "  running  " in albor("runs").out and "wait for its first one" in albor("eval", directory.name).err
    watch.poll()
    assert watch.verdict() == "running" and watch.metrics.step == 2


def test_a_silent_run_is_hung_here_and_dead_or_hung_elsewhere(directory: Path, runner) -> None:
    tell(runner(), 1)
    watch = Watch(directory)
    watch.poll()
    later = time.time() + SILENCE + 70
    assert watch.verdict(later - 80) == "running"
    assert watch.verdict(later) == "no heartbeat for 6 min: hung"
    watch.run = replace(watch.run, environment={"host": "another"})
    assert watch.verdict(later - 80) == "running"
    assert watch.verdict(later) == "no heartbeat for 6 min: dead or hung"


def test_failed_and_interrupted(directory: Path) -> None:
    to(directory, "failed", error="the loss was not finite\nmore", finished=time.time())
    assert shown(directory).splitlines()[0].endswith("failed: the loss was not finite")
    reason = f"no checkpoint in {directory}/checkpoints is intact; the newest one lacks {'x' * 30}"
    to(directory, "failed", error=reason, finished=time.time())
    assert " ".join(shown(directory, 60).split()).replace(" ", "").count(reason.replace(" ", "")) == 1
    to(directory, "interrupted", finished=time.time())
    assert shown(directory).splitlines()[0].endswith("  interrupted")


# --- the metrics ---


def test_every_line_is_read_once_as_it_comes(directory: Path) -> None:
    watch, read = Watch(directory), 0
    watch.poll()
    take = watch.metrics.take

    def counted(row: object) -> None:
        nonlocal read
        read += 1
        take(row)  # type: ignore[arg-type]

    watch.metrics.take = counted  # type: ignore[method-assign,assignment]
    with MetricsLog(directory) as log:
        for step in range(1, 51):
            log(line(step))
            if step % 10 == 0:
                watch.poll()
                assert watch.metrics.step == step
    watch.poll()
    assert read == 50 and len(watch.metrics.curves["loss"].values) == 50


def test_a_line_that_is_being_written_waits_and_a_torn_one_is_skipped(directory: Path) -> None:
    path = directory / NAME
    path.write_text(json.dumps(line(1)) + "\n" + json.dumps(line(2))[:20])
    watch = Watch(directory)
    watch.poll()
    assert watch.metrics.step == 1
    with path.open("a") as file:
        file.write(json.dumps(line(2))[20:] + "\n" + json.dumps(line(3))[:15])
    watch.poll()
    assert watch.metrics.step == 2
    with MetricsLog(directory) as log:  # another process, after the one that tore the line
        log(line(3))
    watch.poll()
    assert watch.metrics.curves["loss"].steps == [1, 2, 3]


def test_steps_that_are_done_again_take_the_place_of_the_old(directory: Path) -> None:
    with MetricsLog(directory) as log:
        for step in range(1, 61):
            log(line(step))
            if step % 20 == 0:
                log({"step": step, "val_loss": 5.0 + step})
        log({"step": 30, "alert": "early", "message": "m"})
        log({"step": 60, "alert": "late", "message": "m"})
        watch = Watch(directory)
        watch.poll()
        assert watch.metrics.curves["val_loss"].steps == [20, 40, 60]
        for step in range(41, 46):  # from the checkpoint at 40
            log(line(step, loss=-1.0))
    watch.poll()
    metrics = watch.metrics
    assert metrics.step == 45 and metrics.curves["loss"].steps == list(range(1, 46))
    assert metrics.curves["loss"].values[40:] == [-1.0] * 5
    assert metrics.curves["val_loss"].steps == [20, 40]
    assert [said.name for said in metrics.said] == ["early"]


def test_a_run_that_starts_anew_forgets_the_old_file(directory: Path) -> None:
    with MetricsLog(directory) as log:
        for step in range(1, 31):
            log(line(step))
    watch = Watch(directory)
    watch.poll()
    (directory / NAME).unlink()
    watch.poll()
    assert watch.metrics.step == 0
    with MetricsLog(directory) as log:
        log(line(1))
    watch.poll()
    assert watch.metrics.curves["loss"].steps == [1]


def test_everything_that_is_logged_is_shown(directory: Path) -> None:
    to(directory, "running")
    with MetricsLog(directory) as log:
        for step in range(1, 31):
            log(line(step, lr=3e-4, grad_norm=2.5, grad_norm_clipped=1.0, mfu=0.519, mfu_6p=0.414, memory_gib=69.12))
        log({"step": 30, "val_loss": 3.25, "val_ppl": 25.79, "val_bits_per_byte": 1.07})
        log({"step": 30, "alert": "loss_spike", "message": "loss 9 is above 3"})
        log({"step": 31, "alert": "plateau", "message": "flat\n  likely causes:\n  1. C-TRAINCFG-002: x"})
        log({"step": 32, "loss": math.nan})
    out = shown(directory)
    for words in ("3.000e-04", "2.5  1 clipped", "51.9% (PaLM)", "41.4% (6P)", "69.1 GiB", "step 32/100",
                  "3.2500  lowest 3.2500 at 30", "25.79  1.0700 bits/byte", "step 30  loss_spike: loss 9 is above 3",
                  "step 31  plateau: flat", "  1. C-TRAINCFG-002: x"):  # fmt: skip
        assert words in out, f"{words}\n{out}"
    assert "nan" not in out


@pytest.mark.parametrize("width", [1, 8, 20, 40, 59, 60, 80, 300])
def test_it_fits_any_width(width: int, directory: Path) -> None:
    to(directory, "failed", error="a cause " * 30)
    with MetricsLog(directory) as log:
        for step in range(1, 101):
            log(line(step, grad_norm_clipped=1.0, mfu=0.5, mfu_6p=0.4, memory_gib=1.0))
        log({"step": 100, "val_loss": 3.25, "val_ppl": 25.79, "val_bits_per_byte": 1.07})
        log({"step": 100, "alert": "spike", "message": "word " * 50})
    lines = shown(directory, width).split("\n")
    assert max(map(len, lines)) <= width
    if width >= 40:
        assert "lowest 0.1000 at 100" in "\n".join(lines)


def test_a_stage_that_does_not_train_shows_its_numbers(planner: Planner) -> None:
    plan = planner.plan(("stage=prepare",))
    prepare(plan)
    with MetricsLog(plan.target.directory) as log:
        log({"step": 0, "documents": 1234, "seconds": 5.5})
    out = shown(plan.target.directory)
    assert "documents" in out and "1,234" in out and "step 0" not in out


@pytest.mark.parametrize("height", [1, 4])
def test_a_chart_rises_and_falls_with_its_values(height: int) -> None:
    rows = chart([0.0, 1.0, 2.0, 3.0], 10, height)
    assert len(rows) == height and all(len(row) == 4 for row in rows)
    assert rows[0][-1] == "█" and rows[-1][0] == "▁" and (height == 1 or rows[0][0] == " ")
    assert len(chart(list(range(1_000)), 37)[0]) == 37
    assert chart([5.0, 5.0], 10) == ["▁▁"] and chart([], 10) == [] and chart([1.0], 0) == []


# --- the command ---


def test_the_verb(albor, directory: Path) -> None:
    with MetricsLog(directory) as log:
        log(line(1))
    for words in ((directory.name,), (f"pretrain/{directory.name}", "--once"), (str(directory),)):
        done = albor("monitor", *words)
        assert done.code == 0 and f"pretrain/{directory.name}" in done.out and "\x1b" not in done.out
    assert albor("monitor").code == 2
    wrong = albor("monitor", "nothing")
    assert wrong.code == 2 and "there is no run 'nothing'" in wrong.err
    assert "is no run: it holds no manifest.yaml" in albor("monitor", str(directory.parent)).err
    assert directory.name in answers("albor monitor ")
    assert answers("albor mon") == ["monitor"] and answers("albor monitor --o") == ["--once"]


def test_it_imports_nothing_heavy(directory: Path) -> None:
    probe = (
        "import sys; from albor.cli.main import run; code = run(['monitor', sys.argv[1]]); "
        "heavy = [m for m in ('torch', 'lightning', 'numpy', 'pyarrow', 'wandb', 'hydra') if m in sys.modules]; "
        "sys.exit(code or ', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe, str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Terminal:
    """``albor monitor`` on a terminal of its own."""

    def __init__(self, directory: Path, columns: int = 80) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm"}
        command = [sys.executable, "-m", "albor", "monitor", str(directory)]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.text = ""

    def wait_for(self, pattern: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, self.text
            self._read()

    def _read(self) -> bool:
        if not select.select([self.master], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.master, 65_536)
        except OSError:  # the other side is closed
            return False
        self.text += data.decode("utf-8", errors="replace")
        return bool(data)

    def finish(self) -> int:
        while self.process.poll() is None or self._read():
            if not self._read():
                break
        code = self.process.wait(30)
        os.close(self.master)
        return code


def test_on_a_terminal_it_follows_the_run_to_its_end(directory: Path, runner) -> None:
    process = runner()
    tell(process, 1)
    terminal = Terminal(directory)
    terminal.wait_for(r"step 1/100")
    assert "\x1b[?1049h" not in terminal.text  # not on the alternate screen
    tell(process, 2, 3)
    terminal.wait_for(r"step 3/100")
    assert process.stdin is not None
    process.stdin.write("end\n")
    process.stdin.close()
    assert terminal.finish() == 0
    assert "done" in terminal.text


@pytest.mark.parametrize("columns", [30, 80])
def test_ctrl_c_leaves_it_and_the_run_alone(columns: int, directory: Path, runner) -> None:
    process = runner()
    tell(process, 1)
    terminal = Terminal(directory, columns)
    terminal.wait_for(r"step 1/100")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 0
    assert "Traceback" not in terminal.text and "\x1b[?25h" in terminal.text  # the cursor is back
    tell(process, 2)


def test_what_was_found_of_the_newest_checkpoints_is_shown(directory: Path) -> None:
    to(directory, "running")
    for step in (10, 20, 30, 1000):
        evaluations.add(directory, step, f"eval/x{step}", {"val_ppl": 5000 / step, "humaneval/pass@1": 0.125})
    watch = Watch(directory)
    watch.poll()
    shown = [line for line in screen(watch, 80) if "val_ppl" in line]
    assert shown == [
        "evaluated  step 20  val_ppl 250  humaneval/pass@1 0.125",
        "           step 30  val_ppl 166.7  humaneval/pass@1 0.125",
        "           step 1,000  val_ppl 5  humaneval/pass@1 0.125",
    ]
