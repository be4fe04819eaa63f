"""How long `albor compare` takes for many long runs, how large its page is, and how soon that answers.

    python -m bench.compare [--runs 50] [--steps 10000] [--keep DIR]

Made-up runs that look like real ones: configs of five seeds each, a dozen series a step, a validation every hundred.
The page is opened in headless Chromium; it is interactive when a chart is drawn and a line that is pointed at says its
name.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from albor.runs import manifest
from albor.runs.manifest import FileRef, InputRef, Manifest
from albor.runs.sweeps import Sweep, name_of, save
from bench.timing import machine, seconds

SEEDS = 5
TOKENS_PER_STEP = 16_384
BEGAN = 1_790_000_000.0
MODEL = {
    "name": "tiny",
    "hidden_size": 192,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "vocab_size": 8192,
}
LEARNING_RATES = (1e-4, 2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3)
TARGETS = {"build, seconds": 5.0, "page, MB": 5.0, "interactive, seconds": 1.0}


def rows(lr: float, steps: int, seed: int, every: int) -> Iterator[dict[str, float]]:
    """A run's lines: a loss that is lowest at a middling learning rate, noise, warmup, now and then a spike."""
    rng = random.Random(f"{lr} {seed}")
    best = 0.25 * math.log10(lr / 1e-3) ** 2 + rng.gauss(0, 0.008)
    clock = BEGAN
    for step in range(1, steps + 1):
        clock += rng.uniform(0.30, 0.36)
        trend = 2.9 + best + 6 * math.exp(-step / (0.02 * steps)) + 0.7 * math.exp(-step / (0.3 * steps))
        spike = 3.0 if rng.random() < 2e-4 else 0.0
        norm = 0.4 + 2.5 * math.exp(-step / 300) + abs(rng.gauss(0, 0.12)) + spike
        speed = 45_000 + rng.gauss(0, 900) - (20_000 if step % every == 0 else 0)
        factor = min(1.0, 20 * step / steps) * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        common = {"time": round(clock, 3), "step": step, "tokens": step * TOKENS_PER_STEP}
        yield common | {
            "loss": trend + rng.gauss(0, 0.09) + spike / 4,
            "lr": lr * factor,
            "grad_norm": norm,
            "grad_norm_clipped": min(1.0, norm),
            "tokens_per_second": speed,
            "mfu": speed * 2.4e7 / 3e12,
            "mfu_6p": speed * 2.1e7 / 3e12,
            "eta_seconds": (steps - step) / 3,
            "memory_gib": 0.71 if step > 3 else 0.5,
        }
        if step % every == 0:
            val = trend + 0.05 + rng.gauss(0, 0.004)
            yield common | {"val_loss": val, "val_ppl": math.exp(val), "val_bits_per_byte": val / math.log(2) / 3.1}


def write_run(store: Path, made: Manifest, lines: Sequence[dict[str, Any]] = ()) -> Path:
    """A run directory, as a stage leaves it."""
    directory = store / made.stage / f"{made.label}-{made.id}"
    (directory / "artifact").mkdir(parents=True, exist_ok=True)
    (directory / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    manifest.save(directory, made)
    return directory


def file_of(text: str) -> FileRef:
    return FileRef(sha256=(text * 64)[:64], bytes=1)


def upstream(store: Path) -> dict[str, InputRef]:
    """Documents, a tokenizer and rows; the inputs that a pretraining run has of them."""
    config = {"data": {"name": "stdlib", "fim_rate": 0.5}, "tokenizer": {"name": "bpe_8k"}, "seed": 0}
    ids = {"prepare": "a" * 12, "tokenizer": "b" * 12, "pack": "c" * 12}
    refs = {
        stage: InputRef(stage=stage, id=id_, path=f"../../{stage}/x-{id_}/artifact", digest=id_ * 5)
        for stage, id_ in ids.items()
    }
    above: dict[str, dict[str, InputRef]] = {
        "prepare": {},
        "tokenizer": {"documents": refs["prepare"]},
        "pack": {"documents": refs["prepare"], "tokenizer": refs["tokenizer"]},
    }
    for stage, id_ in ids.items():
        files = {"val-00000.parquet": file_of(id_)}
        made = Manifest(stage=stage, version=1, id=id_, label="x", status="done", command="", config=config,
                        inputs=above[stage], files=files)  # fmt: skip
        write_run(store, made)
    return {"rows": refs["pack"], "tokenizer": refs["tokenizer"]}


def pretrained(
    store: Path, inputs: dict[str, InputRef], *, lr: float, seed: int, steps: int = 200, every: int = 20, **changes: Any
) -> Manifest:
    """A pretraining run with its log; ``changes`` are of its manifest."""
    lines = list(rows(lr, steps, seed, every))
    config = {
        "model": MODEL,
        "data": {"name": "stdlib", "seq_len": 512, "fim_rate": 0.5},
        "tokenizer": {"name": "bpe_8k"},
        "stage": {"name": "pretrain"},
        "optim": {"kind": "adamw", "lr": lr, "weight_decay": 0.1},
        "trainer": {"max_steps": steps, "micro_batch_size": 32, "val_rows": 32, "devices": 1, "nodes": 1},
        "hardware": {"name": "cpu"},
        "tracking": {"mode": "disabled", "project": "albor", "entity": None, "tags": []},
        "seed": seed,
    }
    id_ = random.Random(f"{lr} {seed} {steps}").randbytes(6).hex()
    facts = {"parameters": 3_934_656, "seconds": steps / 3, "tokens": steps * TOKENS_PER_STEP}
    environment = {"git_commit": "0123abcd" * 5, "host": "bench", "torch": "2.13.0", "cpus": 2}
    fields: dict[str, Any] = {
        "stage": "pretrain", "version": 4, "id": id_, "label": "tiny", "status": "done", "config": config,
        "command": f"python -m albor stage=pretrain optim.lr={lr:g} seed={seed}", "inputs": inputs, "facts": facts,
        "environment": environment, "created": BEGAN + seed, "started": BEGAN, "finished": lines[-1]["time"],
    }  # fmt: skip
    made = Manifest(**fields | changes)
    write_run(store, made, lines)
    return made


def sweep_of(store: Path, made: Sequence[Manifest]) -> str:
    """Records the runs as a sweep over the learning rate and the seed."""
    name = name_of([run.id for run in made])
    points = tuple((f"optim.lr={run.config['optim']['lr']:g}", f"seed={run.config['seed']}") for run in made)
    runs = tuple(f"{run.stage}/{run.label}-{run.id}" for run in made)
    command = "python -m albor -m stage=pretrain optim.lr=… seed=…"
    save(store, Sweep(name=name, command=command, created=BEGAN, points=points, runs=runs))
    return name


def make(store: Path, *, runs: int, steps: int, every: int = 100) -> str:
    """A store with a sweep of so many runs; gives its name."""
    inputs = upstream(store)
    made = [
        pretrained(store, inputs, lr=LEARNING_RATES[i // SEEDS % len(LEARNING_RATES)] * (1 + i // 50), seed=i % SEEDS,
                   steps=steps, every=every)
        for i in range(runs)
    ]  # fmt: skip
    return sweep_of(store, made)


WATCH = """
new MutationObserver((_, watching) => {
  const plot = document.querySelector('.plot[data-drawn]');
  if (!plot) return;
  watching.disconnect();
  window.drawn = performance.now();
  const canvas = [...plot.querySelectorAll('canvas')].at(-1);
  const { left, top, width, height } = canvas.getBoundingClientRect();
  for (let share = 0.6; share < 1 && !document.querySelector("#tip b"); share += 0.05) {
    const place = { clientX: left + 0.6 * width, clientY: top + share * height, bubbles: true, pointerType: 'mouse' };
    canvas.dispatchEvent(new PointerEvent('pointermove', place));
  }
  requestAnimationFrame(() => requestAnimationFrame(() => {
    if (document.querySelector('#tip b')?.textContent) window.answered = performance.now();
  }));
}).observe(document, { subtree: true, attributes: true, attributeFilter: ['data-drawn'] });
"""
"""Points at the first chart, where its lines are, as soon as it is drawn. By the page's own clock, which starts with
the navigation."""


def interactive(page: Path) -> tuple[float, float]:
    """Seconds from navigation to the first chart, and to the frame in which a line that is pointed at says its name."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=switches)
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        tab.add_init_script(WATCH)
        tab.goto(page.as_uri())
        tab.locator("#tip b").wait_for()
        tab.wait_for_timeout(500)
        drawn, answered = (tab.evaluate(f"() => window.{name} / 1000") for name in ("drawn", "answered"))
        browser.close()
    return drawn, answered


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="make the store here, and leave it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        store = (asked.keep or Path(place)) / "outputs"
        name = make(store, runs=asked.runs, steps=asked.steps)
        size = sum(path.stat().st_size for path in store.rglob("metrics.jsonl"))
        page = store / ".compare" / name / "index.html"
        command = (sys.executable, "-m", "albor", "compare", name, f"outputs={store}")
        here = Path(__file__).resolve().parents[1]
        build = sorted(seconds(command, here) for _ in range(3))[1]
        opened = sorted((interactive(page) for _ in range(3)), key=lambda times: times[1])[1]
        found = {"build, seconds": build, "page, MB": page.stat().st_size / 1e6, "interactive, seconds": opened[1]}
    print(f"{machine()}; {asked.runs} runs × {asked.steps:,} steps, {size / 1e6:.0f} MB of logs; medians of 3\n")
    print("| measure | target | reached |\n|---|---|---|")
    for title, value in found.items():
        print(f"| {title} | ≤ {TARGETS[title]:g} | {value:.2f} |")
    print(f"| first chart drawn, seconds | – | {opened[0]:.2f} |")
    return 1 if any(value > TARGETS[title] for title, value in found.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
