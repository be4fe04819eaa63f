"""How fast a model answers, beside its peers in the same run: a table and a page."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.types import Positive, Text
from albor.errors import AlborError
from albor.runs.files import write_text
from albor.runs.store import ARTIFACT
from albor.stages.base import Context, Facts, Stage, Upstream

if TYPE_CHECKING:
    from albor.evals.speed import Question

TABLE, NUMBERS = "bench.md", "bench.json"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the bench stage alone."""

    name: Literal["bench"] = "bench"
    """The stage's name."""
    of: Text = "pretrain"
    """The stage whose model is measured; inputs.model=RUN measures a model that there is."""
    device: Text | None = None
    """What it is measured on, "cpu" or "cuda"; null is the best there is. GGUF files are computed on CPUs."""
    threads: tuple[Positive, ...] = ()
    """Numbers of CPU threads, in turn; none is one thread and then all."""
    rows: tuple[Positive, ...] = (1, 4, 16, 64)
    """Numbers of texts at a time, in turn; more than one with the most threads alone."""
    prompt_tokens: Positive = 128
    """Tokens of each prompt."""
    new_tokens: Positive = 128
    """Tokens that follow it."""
    rounds: Positive = 5
    """Times that each is measured; one before them is not counted."""
    peers: bool = True
    """Whether transformers, llama.cpp and its llama-bench are measured, too, where they can compute the model and are
    installed."""


def run(cfg: Whole, context: Context) -> Facts:
    from albor.evals.speed import ask
    from albor.inference.opening import holds_gguf
    from albor.report.bench_page import render, table

    given = context.inputs["model"]
    questions = list(asked(cfg.stage, given.path, device_of(cfg.stage, given.path)))
    timings = []
    for number, question in enumerate(questions):
        context.progress(number, len(questions), question.engine)
        timings += ask(question)
    weights = given.path.glob("*.gguf" if holds_gguf(given.path) else "*.safetensors")
    found = {
        "model": given.config.get("name") or (given.path.parent if given.path.name == ARTIFACT else given.path).name,
        "run": given.id,
        "parameters": given.facts.get("parameters"),
        "bytes": sum(path.stat().st_size for path in weights),
        "machine": machine(questions[0].device),
        "prompt_tokens": cfg.stage.prompt_tokens,
        "new_tokens": cfg.stage.new_tokens,
        "rounds": cfg.stage.rounds,
        "timings": [asdict(timing) for timing in timings],
    }
    write_text(context.out / NUMBERS, json.dumps(found, indent=1) + "\n")
    write_text(context.out / TABLE, table(found))
    write_text(context.out / "report.html", render(found))
    print(table(found), flush=True)
    return {"page": "report.html", **{key: found[key] for key in ("parameters", "bytes", "machine", "timings")}}


def device_of(wanted: Any, path: Path) -> str:
    """Raises AlborError when it is not there."""
    from albor.inference.device import best_device
    from albor.inference.opening import holds_gguf

    if holds_gguf(path):
        if wanted.device not in (None, "cpu"):
            raise AlborError(
                f"a GGUF file is computed on CPUs, not on {wanted.device}", "leave stage.device out", code="E-DEVICE"
            )
        return "cpu"
    return str(wanted.device or best_device())


def asked(wanted: Any, path: Path, device: str) -> Iterator[Question]:
    """What is measured: with each number of threads our engine, and after it its peers, lest the machine change."""
    from albor.evals.speed import Engine, Question
    from albor.inference.opening import holds_gguf

    threads: tuple[int | None, ...] = (None,)
    if device == "cpu":
        threads = wanted.threads or tuple(sorted({1, os.cpu_count() or 1}))
    engines: list[Engine] = ["albor"]
    if wanted.peers and holds_gguf(path):
        engines += ["llama.cpp", "llama-bench"] if which("llama-bench") else ["llama.cpp"]
    elif wanted.peers and find_spec("transformers"):
        engines += ["transformers"]
    for count in threads:
        for engine in engines:
            yield Question(
                engine=engine,
                directory=str(path),
                device=device,
                threads=count,
                rows=wanted.rows if count == threads[-1] else (1,),
                prompt_tokens=wanted.prompt_tokens,
                new_tokens=wanted.new_tokens,
                rounds=wanted.rounds,
            )


def machine(device: str) -> str:
    """What it was measured on, in words."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"{processor()}, {os.cpu_count()} cores"


def processor() -> str:
    """The CPU's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


STAGE = Stage(
    name="bench",
    version=1,
    makes="benchmark",
    config=Config,
    reads=(),
    label=lambda cfg: f"{cfg.model.name}-{cfg.stage.of}",
    inputs=lambda cfg: {"model": Upstream(stage=cfg.stage.of, makes="model", key="stage.of")},
    run=run,
    accelerated=True,
    action=True,
)
