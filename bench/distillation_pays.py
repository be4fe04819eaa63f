"""Whether a student learns more from a teacher than from the text alone, at equal tokens and steps.

    python -m bench.distillation_pays [--store DIR] [--seeds 5] [--parallel 5] [--student tiny] [--teacher small]
        [--teacher-steps 360] [--steps 360] [--also NAME=OVERRIDE,…] … [--rows OVERRIDE] …
        [--taught OVERRIDE] … [--stored] [--teacher-rows OVERRIDE] … [OVERRIDE …]

For each seed, a student from random weights by ``stage=pretrain`` and one by ``stage=distill stage.of=null``: the same
rows in the same order, the same rate. Each is evaluated on the same held-out rows, and the two are compared row by row
by the sign-flip test of FALSIFY-ALBOR-005, first within each seed, then on the means over the seeds. ``--also``
measures the first seed with other choices of ``distill``; ``--rows`` and ``--evaluation`` say what only the rows and
the evaluations are made of. ``--taught`` chooses how the students are taught, ``--stored`` by what
``stage=teacher_logits`` has stored once for all of them, and ``--teacher-rows`` gives the teacher rows of its own, say
of another tokenizer (``--teacher-rows tokenizer=bpe_32k --taught distill=alignment --stored``). A store that
is given is kept: a second call goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from albor.evals.paired import Paired, paired
from albor.runs.lineage import input_path
from albor.runs.manifest import load
from albor.runs.store import Store
from bench.timing import machine

ROOT = Path(__file__).parents[1]
ALONE = "pretrained"
TAUGHT = "distilled"
Bits = Mapping[tuple[int, int], float]
"""Bits per byte of a held-out row: (its number, tokens predicted)."""


class Trial:
    """Runs in one store."""

    def __init__(self, given: argparse.Namespace, store: Path) -> None:
        self.given, self.store = given, store

    def albor(self, *overrides: str) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "albor", "tracking=none", *overrides]
        done = subprocess.run(
            command,
            cwd=self.store,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(overrides)}\n{done.stderr[-3000:]}")

    def made(self, stage: str, name: str) -> Path:
        [directory] = (self.store / "outputs" / stage).glob(f"{name}-*")
        return directory

    def prepare(self) -> None:
        """The rows and the teacher, which all students share."""
        self.albor("stage=pack", "name=rows", f"model={self.given.student}", *self.given.rows)
        rows = self.made("pack", "rows")
        self.given_rows = [f"inputs.rows={rows}", f"inputs.tokenizer={made_from(rows, 'tokenizer')}"]
        own = self.given.teacher_rows
        self.albor(
            "stage=pretrain",
            f"model={self.given.teacher}",
            "name=teacher",
            f"trainer.max_steps={self.given.teacher_steps}",
            *self.given.overrides,
            *([*self.given.rows, *own] if own else self.given_rows),
        )
        self.teacher = [f"inputs.teacher={self.made('pretrain', 'teacher')}"]
        if self.given.stored:  # by the first student
            name = self.learn(1)
            self.teacher = [f"inputs.logits={made_from(self.made('distill', name), 'logits')}"]

    def student(self, name: str, seed: int, *own: str) -> None:
        self.albor(
            f"model={self.given.student}",
            f"name={name}",
            f"seed={seed}",
            f"trainer.max_steps={self.given.steps}",
            *self.given_rows,
            *self.given.overrides,
            *own,
        )

    def alone(self, seed: int) -> Bits:
        name = f"{ALONE}-{seed}"
        self.student(name, seed, "stage=pretrain")
        return self.bits("pretrain", name)

    def learn(self, seed: int, label: str = TAUGHT, *own: str) -> str:
        name = f"{label}-{seed}"
        rate = f"optim.lr={self.rate}"
        self.student(name, seed, "stage=distill", "stage.of=null", *self.teacher, rate, *self.given.taught, *own)
        return name

    def taught(self, seed: int, label: str = TAUGHT, *own: str) -> Bits:
        first = self.given.stored and (seed, label) == (1, TAUGHT)
        return self.bits("distill", f"{label}-{seed}" if first else self.learn(seed, label, *own))

    @property
    def rate(self) -> float:
        """The rate that the student is pretrained at."""
        from bench.training_step import plan

        return plan([f"model={self.given.student}", *self.given.overrides]).config.optim.lr

    def bits(self, stage: str, name: str) -> Bits:
        model = self.made(stage, name)
        self.albor(
            "stage=generate",
            f"model={self.given.student}",
            f"name={name}",
            "task=[perplexity]",
            *self.given.evaluation,
            f"inputs.model={model}",
            f"inputs.rows={made_from(model, 'rows')}",
        )
        run = Store(self.store / "outputs").find(self.made("generate", name).name.rsplit("-", 1)[-1])
        facts = run.manifest.facts
        per = facts["val_bits_per_byte"] / facts["val_loss"]
        lines = [json.loads(line) for line in (run.artifact / "rows.jsonl").read_text().splitlines()]
        return {(line["row"], line["tokens"]): line["nll"] / line["tokens"] * per for line in lines if line["tokens"]}


def made_from(run: Path, name: str) -> Path:
    """The run that is an input of another."""
    return input_path(run, load(run).inputs[name]).parent


def compare(alone: Sequence[Bits], taught: Sequence[Bits]) -> Paired:
    """How much less the taught need, row by row, of the means over the models."""
    rows = sorted(alone[0])
    assert all(sorted(one) == rows for one in (*alone, *taught))
    means = [[sum(one[row] for one in group) / len(group) for row in rows] for group in (alone, taught)]
    return paired(*means)


def mean(bits: Bits) -> float:
    tokens = sum(count for _, count in bits)
    return sum(value * count for (_, count), value in bits.items()) / tokens


def line(name: str, alone: Sequence[Bits], taught: Sequence[Bits]) -> str:
    found = compare(alone, taught)
    before, after = (sum(map(mean, group)) / len(group) for group in (alone, taught))
    return (
        f"| {name} | {before:.4f} | {after:.4f} | {100 * (after / before - 1):+.2f}% | "
        f"{found.low:.4f} to {found.high:.4f} | {found.greater:.4f} | {found.count:,} |"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--student", default="tiny")
    parser.add_argument("--teacher", default="small")
    parser.add_argument("--teacher-steps", type=int, default=360)
    parser.add_argument("--steps", type=int, default=360)
    parser.add_argument("--also", action="append", default=[])
    parser.add_argument("--rows", action="append", default=[])
    parser.add_argument("--evaluation", action="append", default=[])
    parser.add_argument("--taught", action="append", default=[])
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--teacher-rows", action="append", default=[])
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args(arguments)
    with nullcontext(given.store) if given.store else tempfile.TemporaryDirectory() as store:
        trial = Trial(given, Path(store).resolve())
        trial.store.mkdir(parents=True, exist_ok=True)
        trial.prepare()
        seeds = range(1, given.seeds + 1)
        with ThreadPoolExecutor(given.parallel) as pool:
            alone = [pool.submit(trial.alone, seed) for seed in seeds]
            taught = [pool.submit(trial.taught, seed) for seed in seeds]
            others = {
                name: pool.submit(trial.taught, 1, name, *own.split(","))
                for name, _, own in (text.partition("=") for text in given.also)
            }
            before, after = ([future.result() for future in futures] for futures in (alone, taught))
            variants = {name: future.result() for name, future in others.items()}
        teacher = trial.bits("pretrain", "teacher")
    print(machine())
    print(f"\nthe teacher: {mean(teacher):.4f} bits per byte\n")
    print("| seed | pretrained | distilled | change | better by (95%) | p | rows |\n|---|---|---|---|---|---|---|")
    for seed in seeds:
        print(line(str(seed), before[seed - 1 : seed], after[seed - 1 : seed]))
    print(line("all", before, after))
    for name, bits in variants.items():
        print(line(f"1, {name}", before[:1], [bits]))


if __name__ == "__main__":
    main(sys.argv[1:])
