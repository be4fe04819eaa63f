"""The first phase of a benchmark: completions of its problems, kept as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from albor.config.schema.task import Generated
from albor.errors import AlborError
from albor.evals.journal import Journal, Record
from albor.evals.tasks.base import Problem
from albor.inference.engine import Sampling, derive_seed
from albor.inference.text import NoFim, TextRequest, Writer

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
    with Journal(path, KEY) as journal:
        wanted = [
            (problem, sample)
            for problem in job.problems
            for sample in range(job.samples)
            if (problem.id, sample) not in journal.records
        ]
        progress(len(journal.records), job.size)
        sampling = Sampling(temperature=job.spec.temperature, top_p=job.spec.top_p)
        requests = [_request(job, problem, sample, seed) for problem, sample in wanted]
        try:
            for index, answer in writer.write(requests, sampling):
                problem, sample = wanted[index]
                record: Record = {"problem": problem.id, "sample": sample, "prompt": problem.prompt}
                if problem.suffix is not None:
                    record["suffix"] = problem.suffix
                record |= {"completion": answer.text, "tokens": answer.tokens}
                if answer.cut_prompt:
                    record["cut_prompt"] = True
                journal.add(record)
                progress(len(journal.records), job.size)
        except NoFim:
            raise AlborError(
                f"task {job.name} fills holes, and the model's tokenizer has no fill-in-the-middle tokens",
                "leave the task out, or name the tokens: tokenizer.fim_prefix, fim_suffix, fim_middle",
                code="E-EVAL",
            ) from None
        order = {problem.id: number for number, problem in enumerate(job.problems)}
        return sorted(journal.records.values(), key=lambda record: (order[record["problem"]], record["sample"]))


def _request(job: Job, problem: Problem, sample: int, seed: int) -> TextRequest:
    return TextRequest(
        prompt=problem.prompt,
        suffix=problem.suffix,
        fim=getattr(job.spec, "fim", "psm"),
        seed=derive_seed(seed, f"{job.name}/{problem.id}", sample),
        max_new_tokens=job.spec.max_new_tokens,
        max_length=job.spec.max_length,
        stop=(*job.stop, *problem.row.get("stop_tokens", ())),
    )
