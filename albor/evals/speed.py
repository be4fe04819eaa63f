"""How fast a model answers: first tokens, each further one, and many texts at once; its peers in the same way.

Each measurement is a process of its own (``python -m albor.evals.speed``), so that its memory is its own, and what one
library does to threads another does not feel.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal

from albor.errors import AlborError

Engine = Literal["albor", "transformers", "llama.cpp", "llama-bench"]
"""Our engine; transformers' ``generate``; the decoding alone of the llama.cpp that ours computes with; llama.cpp's own
bench, whatever build of it is installed."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one process measures."""

    engine: Engine
    directory: str
    device: str
    threads: int | None
    """Of a CPU; None on a GPU."""
    rows: tuple[int, ...]
    """Texts at a time, in turn."""
    prompt_tokens: int
    new_tokens: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What came of it for one number of rows."""

    engine: str
    device: str
    threads: int | None
    rows: int
    first_ms: float | None
    """Median time to the first token, the prompt's reading included."""
    p50_ms: float | None
    """Of the times per further token, as one text of them sees it."""
    p90_ms: float | None
    rate: float
    """New tokens a second of all texts, the prompts' reading included; the median of the rounds."""
    memory: int
    """Most bytes that the process held, or on a GPU its allocations there."""


@dataclass
class Round:
    """One time that the rows were written."""

    first: float | None
    steps: list[float]
    """Seconds per further token."""
    seconds: float


def ask(question: Question) -> list[Timing]:
    """Measures in a process of its own. Raises AlborError when it fails."""
    threads = {} if question.threads is None else {"OMP_NUM_THREADS": str(question.threads)}
    done = subprocess.run(
        [sys.executable, "-m", "albor.evals.speed", json.dumps(asdict(question))],
        env=os.environ | threads,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it was killed"]
        error = AlborError(f"measuring {question.engine} failed: {lines[-1]}", code="E-INFER")
        error.exit_code = 1
        raise error
    return [Timing(**found) for found in json.loads(done.stdout.splitlines()[-1])]


def measure(question: Question) -> Iterator[Timing]:
    """The same in this process."""
    if question.engine == "llama-bench":
        yield _llama_bench(question)
        return
    write, named = {"albor": _ours, "transformers": _transformers, "llama.cpp": _llama_cpp}[question.engine](question)
    for rows in question.rows:
        rounds = [write(rows) for _ in range(question.rounds + 1)][1:]
        yield timing(question, named, rows, rounds)


def timing(question: Question, named: str, rows: int, rounds: Sequence[Round]) -> Timing:
    steps = sorted(1000 * step for one in rounds for step in one.steps)
    firsts = [1000 * one.first for one in rounds if one.first is not None]
    return Timing(
        engine=named,
        device=question.device,
        threads=question.threads,
        rows=rows,
        first_ms=median(firsts) if firsts else None,
        p50_ms=median(steps) if steps else None,
        p90_ms=quantiles(steps, n=10, method="inclusive")[-1] if len(steps) > 1 else None,
        rate=rows * question.new_tokens / median(one.seconds for one in rounds),
        memory=_memory(question.device),
    )


def prompts(question: Question, rows: int, vocab_size: int) -> list[list[int]]:
    """Random ids, others for every row and every time."""
    draw = random.Random()
    return [[draw.randrange(vocab_size) for _ in range(question.prompt_tokens)] for _ in range(rows)]


Write = Callable[[int], Round]


def _ours(question: Question) -> tuple[Write, str]:
    from albor.inference.engine import Request
    from albor.inference.opening import computed_by, open_engine
    from albor.inference.slot_engine import SlotEngine

    directory = Path(question.directory)
    engine = open_engine(directory, device=question.device, threads=question.threads)
    assert isinstance(engine, SlotEngine)
    engine.eos = frozenset()  # every text is as long as it may be
    capacity, vocab = question.prompt_tokens + question.new_tokens, _vocab_size(directory)
    sessions: dict[int, Any] = {}

    def write(rows: int) -> Round:
        session = sessions.get(rows) or sessions.setdefault(rows, engine.session(rows=rows, capacity=capacity))
        began = time.perf_counter()
        made = [
            session.add(Request(prompt=tuple(ids), max_new_tokens=question.new_tokens))
            for ids in prompts(question, rows, vocab)
        ]
        first: float | None = None
        steps, seen, last = list[float](), 0, began
        while not session.idle:
            session.advance()
            now = time.perf_counter()
            if (new := len(made[0].tokens) - seen) > 0:
                if first is None:
                    first = now - began
                else:
                    steps += [(now - last) / new] * new
                seen, last = seen + new, now
        return Round(first, steps, time.perf_counter() - began)

    return write, f"albor, {computed_by(directory).partition(',')[0]}"


def _transformers(question: Question) -> tuple[Write, str]:
    import torch
    import transformers

    if question.threads is not None:
        torch.set_num_threads(question.threads)
    dtype = torch.bfloat16 if question.device.startswith("cuda") else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(question.directory, dtype=dtype).to(question.device)
    vocab = model.config.vocab_size

    class Clock:
        """A streamer that notes when tokens come; transformers streams one text at a time."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, value: Any) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None: ...

    def write(rows: int) -> Round:
        ids = torch.tensor(prompts(question, rows, vocab), device=question.device)
        clock, began = Clock(), time.perf_counter()
        with torch.inference_mode():
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=question.new_tokens,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
                streamer=clock if rows == 1 else None,
            )
        if question.device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        came = clock.times[1:]  # the prompt is handed to it first
        steps = [later - before for before, later in itertools.pairwise(came)]
        return Round(came[0] - began if came else None, steps, seconds)

    return write, "transformers generate"


def _llama_cpp(question: Question) -> tuple[Write, str]:
    """One token after the other, whatever the logits are: what its own bench times."""
    import numpy as np

    from albor.inference.llama_cpp import BATCH, LlamaContext, LlamaModel

    (file,) = Path(question.directory).glob("*.gguf")
    model = LlamaModel(file)
    contexts: dict[int, LlamaContext] = {}

    def write(rows: int) -> Round:
        capacity = -(-(question.prompt_tokens + question.new_tokens) // 128) * 128
        context = contexts.get(rows) or contexts.setdefault(
            rows, LlamaContext(model, rows, capacity, question.threads or 1)
        )
        every = np.arange(rows)
        for row in range(rows):
            context.cut(row, 0)
        began = time.perf_counter()
        ids = np.array(prompts(question, rows, model.vocab_size))
        read = question.prompt_tokens - 1
        for row in range(rows):
            for start in range(0, read, BATCH):
                part = ids[row, start : min(start + BATCH, read)]
                context.decode(part, np.arange(start, start + len(part)), np.full(len(part), row), np.zeros(len(part)))
        first, steps, last = None, list[float](), began
        for place in range(question.new_tokens):
            context.decode(ids[:, -1], np.full(rows, read + place), every, np.ones(rows))
            now = time.perf_counter()
            if first is None:
                first = now - began
            else:
                steps.append(now - last)
            last = now
        return Round(first, steps, time.perf_counter() - began)

    return write, "llama.cpp, decoding alone"


def _llama_bench(question: Question) -> Timing:
    """Its medians of whole rounds, of one text: it tells no single token's time. New tokens are those behind as long a
    prompt."""
    (file,) = Path(question.directory).glob("*.gguf")
    prompt, new = question.prompt_tokens, question.new_tokens
    sizes = f"-p {prompt} -n {new} -d 0,{prompt} -r {question.rounds} -t {question.threads or 1}"
    words = ["llama-bench", "-m", str(file), *sizes.split(), "-o", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"llama-bench: {done.stderr.strip()[-300:]}")
    found = {(one["n_depth"], one["n_gen"]): one["samples_ns"] for one in json.loads(done.stdout)}
    read, written = found[0, 0], found[prompt, new]
    steps = [nanoseconds / new / 1e6 for nanoseconds in written]
    return Timing(
        engine="llama-bench",
        device=question.device,
        threads=question.threads,
        rows=1,
        first_ms=median(read) / 1e6 + median(steps),
        p50_ms=median(steps),
        p90_ms=None,
        rate=new / (median(read) + median(written)) * 1e9,
        memory=_memory(question.device, resource.RUSAGE_CHILDREN),
    )


def _vocab_size(directory: Path) -> int:
    from albor.data.tokenizer import Codec

    return Codec.of_model(directory).vocab_size


def _memory(device: str, whose: int = resource.RUSAGE_SELF) -> int:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(whose).ru_maxrss * unit


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    asked = Question(**{**wanted, "rows": tuple(wanted["rows"])})
    print(json.dumps([asdict(found) for found in measure(asked)]))
