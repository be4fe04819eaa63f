"""Training throughput in one table: albor's own command against bare loops over its module, litgpt's and transformers'.

    python -m bench.train_throughput [--model 350m] [--hardware h200] [--micro-batch 32] [--steps 40] [--rounds 1]
        [--fp8] [--only NAME …] [--scaling 1 2 4] [--checkpoint] [--first-step] [OVERRIDE …]

Every line is a process of its own on the same rows (of Python's standard library, unless overridden), in --rounds
rounds of all lines. albor's rate is the median of metrics.jsonl, everything on: records, alerts, data. The others' is
the median time between the ends of steps on the device's clock. A line shows its median round. MFU is against the dense
bf16 peak of --hardware, by PaLM's count and by 6·P. On a CPU, for a try:
`--model tiny --hardware cpu --micro-batch 2 --steps 4 --warm-up 2`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.timing import machine

ROOT = Path(__file__).parents[1]
GIB = 2**30
CHECKPOINT_STEPS = 500
"""Steps between two saves that a save's time is a share of."""
SHORT = 3
"""Steps of a run that is only to begin."""


@dataclass(frozen=True)
class Measured:
    tokens_per_second: float
    peak_bytes: float


class Bench:
    """Runs things in one store, with the same data."""

    def __init__(self, given: argparse.Namespace, store: Path) -> None:
        self.given, self.store = given, store
        self._runs = 0
        self.target = [f"model={given.model}", f"hardware={given.hardware}", "tracking=none", *given.overrides]
        if given.hardware == "cpu":
            self.target.append("trainer=cpu")

    def albor(self, *overrides: str, environment: dict[str, str] | None = None) -> tuple[Path, float]:
        """Trains by albor's command line; gives the run's directory and when the command was given (Unix time)."""
        self._runs += 1
        # A run of the same config would be done already.
        number = os.getpid() * 100 + self._runs
        own = (f"name=bench-{number}", f"optim.weight_decay={0.1 + number * 1e-12:.12f}")
        began = time.time()
        self._run([sys.executable, "-m", "albor", "stage=pretrain", *own, *overrides], environment)
        [directory] = (self.store / "outputs/pretrain").glob(f"bench-{number}-*")
        return directory, began

    def overrides(
        self, *, steps: int, devices: int = 1, precision: str | None = None, save_every: int = 0
    ) -> list[str]:
        own = [
            *self.target,
            f"trainer.max_steps={steps}",
            "trainer.tokens_per_param=null",
            "trainer.epochs=1000",
            "trainer.warmup_steps=1",
            f"trainer.micro_batch_size={self.given.micro_batch}",
            "trainer.grad_accum=1",
            f"trainer.devices={devices}",
            f"trainer.val_every={steps}",
            f"trainer.val_rows={self.given.micro_batch}",
            f"trainer.save_every={save_every or steps}",
            f"trainer.compile={str(self.given.compile or self.given.hardware != 'cpu').lower()}",
            "allow=[C-TRAINCFG-003]",
        ]
        return own + ([f"trainer.precision={precision}"] if precision else [])

    @property
    def steps(self) -> int:
        return int(self.given.warm_up + self.given.steps)

    def command(self, *, devices: int = 1, precision: str | None = None) -> Measured:
        """albor's command line."""
        directory, _ = self.albor(*self.overrides(steps=self.steps, devices=devices, precision=precision))
        lines = [line for line in metrics(directory) if line.get("step", 0) > self.given.warm_up]
        rates = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
        return Measured(statistics.median(rates), max(line.get("memory_gib", 0.0) for line in lines) * GIB)

    def loop(self, name: str, *, precision: str | None = None) -> Measured:
        """A bare loop over a subject of ``training_step``."""
        overrides = self.overrides(steps=self.steps, precision=precision)
        told = self._run([sys.executable, "-m", "bench.training_step", name, str(self.steps), *overrides])
        result = json.loads(told.splitlines()[-1])
        tokens = self.given.micro_batch * self.sizes["seq_len"]
        return Measured(tokens / statistics.median(result["seconds"][self.given.warm_up :]), result["peak_bytes"])

    def build(self) -> None:
        """Makes the rows, and reads from their plan what a token costs."""
        short = self.overrides(steps=self.steps)
        self._run([sys.executable, "-m", "albor", "stage=pack", *self.target])
        from bench.training_step import plan

        config = plan(short).config
        seq_len = config.data.seq_len
        self.sizes = {"seq_len": seq_len, "parameters": config.model.num_parameters}
        self.flops = {"palm": config.model.flops_per_token(seq_len), "6p": 6 * config.model.num_parameters}
        self.peak = config.hardware.peak_flops.bf16 or config.hardware.peak_flops.float32

    def _run(self, command: Sequence[str], environment: dict[str, str] | None = None) -> str:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            command, cwd=self.store, env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise RuntimeError("\n".join(lines[-12:]))
        return done.stdout

    # --- the tables ---

    def throughput(self) -> None:
        first = "float32" if self.given.hardware == "cpu" else "bf16"
        lines: dict[str, tuple[str, Callable[[], Measured]]] = {}
        for kind in (first, *(["fp8"] if self.given.fp8 else [])):
            lines[f"albor-{kind}"] = f"`albor stage=pretrain`, {kind}", partial(self.command, precision=kind)
            lines[f"loop-{kind}"] = (
                f"albor's module in a bare loop, {kind}",
                partial(self.loop, "albor", precision=kind),
            )
        lines["litgpt"] = "litgpt's model file", partial(self.loop, "litgpt", precision=first)
        lines["transformers"] = "transformers' LlamaForCausalLM", partial(self.loop, "transformers", precision=first)
        wanted = [name for name in lines if not self.given.only or name in self.given.only]
        rounds: dict[str, list[Measured]] = {name: [] for name in wanted}
        for _ in range(self.given.rounds):
            for name in wanted:
                try:
                    rounds[name].append(lines[name][1]())
                except RuntimeError as error:
                    print(f"{name}:\n{error}", file=sys.stderr, flush=True)
                else:
                    print(f"{name}: {rounds[name][-1].tokens_per_second:,.0f}", file=sys.stderr, flush=True)
        print("| what | tokens/s | MFU (PaLM) | MFU (6P) | peak GiB |\n|---|---|---|---|---|")
        found: dict[str, float] = {}
        for name, measured in rounds.items():
            title = lines[name][0]
            if not measured:
                print(f"| {title} | failed | – | – | – |")
                continue
            rate = found[name] = statistics.median(m.tokens_per_second for m in measured)
            shares = " | ".join(f"{flops * rate / self.peak:.1%}" for flops in self.flops.values())
            print(f"| {title} | {rate:,.0f} | {shares} | {max(m.peak_bytes for m in measured) / GIB:.1f} |")
        for above, below in (
            (f"albor-{first}", f"loop-{first}"),
            ("albor-fp8", "loop-fp8"),
            ("albor-fp8", "albor-bf16"),
            (f"albor-{first}", "litgpt"),
            ("albor-fp8", "litgpt"),
            (f"albor-{first}", "transformers"),
        ):
            if above in found and below in found:
                print(f"\n{above} / {below}: {found[above] / found[below]:.3f}", end="")
        print(flush=True)

    def scaling(self) -> None:
        print("\n| devices | tokens/s | of linear | peak GiB of the first |\n|---|---|---|---|")
        single = None
        for devices in self.given.scaling:
            measured = self.command(devices=devices)
            rate = measured.tokens_per_second
            single = single or rate / devices
            share = rate / (devices * single)
            print(f"| {devices} | {rate:,.0f} | {share:.1%} | {measured.peak_bytes / GIB:.1f} |", flush=True)

    def checkpoint(self) -> None:
        every = max(2, self.steps // 4)
        directory, _ = self.albor(*self.overrides(steps=self.steps, save_every=every))
        lines = metrics(directory)
        saves = [line["save_seconds"] for line in lines if "save_seconds" in line]
        rate = statistics.median(line["tokens_per_second"] for line in lines if "tokens_per_second" in line)
        step = self.given.micro_batch * self.sizes["seq_len"] / rate
        share = statistics.median(saves) / (CHECKPOINT_STEPS * step)
        listed = ", ".join(f"{seconds:.2f}" for seconds in saves)
        print(f"\na save blocks training for {listed} s; a step takes {step:.3f} s: {share:.2%} of {CHECKPOINT_STEPS}")

    def first_step(self) -> None:
        print("\n| compilation cache | command to the end of step 1 |\n|---|---|")
        with tempfile.TemporaryDirectory() as cache:
            caches = {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": f"{cache}/triton"}
            for name in ("cold", "warm"):
                directory, began = self.albor(*self.overrides(steps=SHORT), environment=caches)
                ended = next(line["time"] for line in metrics(directory) if line.get("step") == 1 and "loss" in line)
                print(f"| {name} | {ended - began:.1f} s |", flush=True)


def metrics(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def arguments(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """What a ``Bench`` is told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="350m")
    parser.add_argument("--hardware", default="h200", help="a choice of the group hardware")
    parser.add_argument("--micro-batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of each line")
    parser.add_argument("--warm-up", type=int, default=10, help="steps before them")
    parser.add_argument("--rounds", type=int, default=rounds, help="measurements of each line, interleaved")
    parser.add_argument("--compile", action="store_true", help="compile on a CPU too")
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="of every run: data=pypi, inputs.documents=DIR"
    )
    return parser


def main() -> int:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--fp8", action="store_true")
    parser.add_argument("--only", nargs="*", help="albor-bf16, loop-bf16, albor-fp8, loop-fp8, litgpt, transformers")
    parser.add_argument("--scaling", type=int, nargs="+", help="albor's command on so many devices: 1 2 4")
    parser.add_argument("--checkpoint", action="store_true", help="how long a save blocks training")
    parser.add_argument("--first-step", action="store_true", help="time to the first step, cold and warm")
    parser.add_argument("--store", type=Path, help="directory to work in and to leave; temporary without")
    given = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = (given.store or Path(temporary)).absolute()
        store.mkdir(parents=True, exist_ok=True)
        bench = Bench(given, store)
        began = time.monotonic()
        bench.build()
        print(f"{machine()}; {given.hardware}, {given.model}: {bench.sizes['parameters']:,} parameters, "
              f"{bench.sizes['seq_len']:,} tokens a row, micro-batch {given.micro_batch}; medians of {given.steps} "
              f"steps after {given.warm_up}; data built in {time.monotonic() - began:.0f} s\n", flush=True)  # fmt: skip
        if given.only != []:
            bench.throughput()
        for asked, table in (
            (given.scaling, bench.scaling),
            (given.checkpoint, bench.checkpoint),
            (given.first_step, bench.first_step),
        ):
            if asked:
                table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
