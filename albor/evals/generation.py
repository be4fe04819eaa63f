"""The first phase of a benchmark: completions of its problems, kept as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from albor.config.schema.task import Generated
from albor.errors import AlborError
from albor.evals import journal
from albor.evals.journal import Journal, Record
from albor.evals.tasks.base import Problem
from albor.inference.engine import Sampling, derive_seed
from albor.inference.prompts import NoFim, TextRequest, Tokens
from albor.inference.text import Writer

KEY = ("problem", "sample")


@dataclass(frozen=True)
class Job:
    """One task's problems, and how many completions of each."""

    name: str
    spec: Generated
    problems: Sequence[Problem]
    samples: int
    stop: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.problems) * self.samples


def generate(
    job: Job, writer: Writer, path: Path, *, seed: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Record]:
    """A record for every completion: problem, sample, prompt, suffix, completion, tokens.

    They are appended to ``path`` as they come, and those found there are not made again. Raises AlborError.
    """
    with Journal(path, KEY) as kept:
        wanted = [
            (problem, sample)
            for problem in job.problems
            for sample in range(job.samples)
            if (problem.id, sample) not in kept.records
        ]
        progress(len(kept.records), job.size)
        requests = [_request(job, problem, sample, seed) for problem, sample in wanted]
        try:
            for index, answer in writer.write(requests):
                problem, sample = wanted[index]
                record: Record = {"problem": problem.id, "sample": sample, "prompt": problem.prompt}
                if problem.suffix is not None:
                    record["suffix"] = problem.suffix
                record |= {"completion": answer.text, "tokens": answer.tokens}
                if answer.cut_prompt:
                    record["cut_prompt"] = True
                kept.add(record)
                progress(len(kept.records), job.size)
        except NoFim:
            raise AlborError(
                f"task {job.name} fills holes, and the model's tokenizer has no fill-in-the-middle tokens",
                "leave the task out, or name the tokens: tokenizer.fim_prefix, fim_suffix, fim_middle",
                code="E-EVAL",
            ) from None
        order = {problem.id: number for number, problem in enumerate(job.problems)}
        return sorted(kept.records.values(), key=lambda record: (order[record["problem"]], record["sample"]))


def _request(job: Job, problem: Problem, sample: int, seed: int) -> TextRequest:
    return TextRequest(
        prompt=problem.prompt,
        suffix=problem.suffix,
        sampling=Sampling(temperature=job.spec.temperature, top_p=job.spec.top_p),
        fim=getattr(job.spec, "fim", "psm"),
        seed=derive_seed(seed, f"{job.name}/{problem.id}", sample),
        max_new_tokens=job.spec.max_new_tokens,
        max_length=job.spec.max_length,
        stop=(*job.stop, *problem.row.get("stop_tokens", ())),
    )


def refuse_lossy(tokens: Tokens, jobs: Sequence[Job]) -> None:
    """Raises AlborError when the tokenizer does not give back what it reads: such a model scores about nothing."""
    for job in jobs:
        for problem in job.problems[:50]:
            text = problem.prompt + problem.answer
            if tokens.decode(tokens.encode(text)) != text:
                raise AlborError(
                    f"the model's tokenizer does not give back problem {problem.id} of {job.name} as it read it",
                    "one that loses white space cannot write Python; take a byte-level one without a normalizer",
                    code="E-EVAL",
                )


def complete(
    jobs: Sequence[Job],
    writer: Writer,
    *,
    work: Path,
    out: Path,
    seed: int,
    progress: Callable[[float, float, str], None],
) -> dict[str, int]:
    """Completions of every task and its problems, written to ``out``; returns how many completions there are.

    What an earlier attempt wrote to ``work`` is kept. ``progress`` is told how many are done, of how many, and of what.
    """
    before, total, counts = 0, sum(job.size for job in jobs), {}
    for job in jobs:

        def told(done: int, _: int, base: int = before, task: str = job.name) -> None:
            progress(base + done, total, task)

        records = generate(job, writer, work / f"{job.name}.jsonl", seed=seed, progress=told)
        journal.write(out / "generations" / f"{job.name}.jsonl", records)
        journal.write(out / "problems" / f"{job.name}.jsonl", [asdict(problem) for problem in job.problems])
        counts[job.name] = len(records)
        before += job.size
    return counts
