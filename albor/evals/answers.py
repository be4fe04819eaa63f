"""Answers of a model to functions of the corpus, asked for as users do and told apart by the functions' own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from albor.config.schema.finetune import Preferences
from albor.data.chat import render
from albor.data.functions import Candidate
from albor.data.instruction_rows import example
from albor.data.tokenizer import Codec
from albor.evals.journal import Journal, Record
from albor.inference.engine import STOP_EVERY, Engine, Request, Sampling, derive_seed

Check = Callable[[Sequence[str], str], list[bool]]
"""Whether each of some programs passes; what they are, for the progress."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A function that is asked for."""

    id: str
    function: Candidate
    prompt: tuple[int, ...]
    room: int
    """Tokens of an answer at most."""


def problems(functions: Iterable[Candidate], codec: Codec, *, length: int) -> Iterator[Problem | None]:
    """A problem for each function with tests; None for one whose conversation is longer than ``length`` tokens.

    Raises DataError when the tokenizer has no chat tokens.
    """
    for number, function in enumerate(one for one in functions if one.doctests):
        whole = example(codec, function.conversation)
        prompt = render(codec, function.conversation[:1], add_generation_prompt=True).tokens
        closing = len(whole.tokens) - whole.ends[-2] + 1  # with what ends the answer
        if len(whole.tokens) > length:
            yield None
        else:
            name = f"{number:05d} {function.path}:{function.name}"
            yield Problem(name, function, tuple(prompt), length - len(prompt) - closing)


def telling(asked: Sequence[Problem], check: Check) -> list[Problem]:
    """Those whose tests tell answers apart: the corpus's own function passes, and nothing at all does not."""
    right = check([one.function.program for one in asked], "functions")
    empty = check([one.function.judging("") for one in asked], "tests without their function")
    return [one for one, passes, idle in zip(asked, right, empty, strict=True) if passes and not idle]


def draw(
    asked: Sequence[Problem],
    engine: Engine,
    codec: Codec,
    wanted: Preferences,
    path: Path,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Record]:
    """``wanted.samples`` answers to each problem: problem, sample, prompt, completion, tokens.

    They are appended to ``path`` as they come, and those found there are not made again.
    """
    assert codec.chat is not None
    end, total = codec.chat.end, len(asked) * wanted.samples
    with Journal(path, ("problem", "sample")) as journal:
        places = [
            (problem, sample)
            for problem in asked
            for sample in range(wanted.samples)
            if (problem.id, sample) not in journal.records
        ]
        sampling = Sampling(temperature=wanted.temperature, top_p=wanted.top_p)
        requests = [
            Request(
                prompt=problem.prompt,
                sampling=sampling,
                max_new_tokens=min(wanted.max_new_tokens, problem.room),
                seed=derive_seed(seed, "preferences", problem.id, sample),
                stop=lambda ids: end in ids[-STOP_EVERY:],
            )
            for problem, sample in places
        ]
        for index, ids in engine.generate(requests):
            problem, sample = places[index]
            answer = codec.decode(ids[: ids.index(end)] if end in ids else ids)
            made = {"problem": problem.id, "sample": sample, "prompt": problem.function.instruction}
            journal.add({**made, "completion": answer, "tokens": len(ids)})
            progress(len(journal.records), total)
        order = {problem.id: number for number, problem in enumerate(asked)}
        return sorted(journal.records.values(), key=lambda record: (order[record["problem"]], record["sample"]))


def judge(asked: Sequence[Problem], records: Iterable[Record], check: Check) -> list[Record]:
    """The records with a verdict, ``passed`` or ``failed``. Equal answers to a problem are run once."""
    function = {problem.id: problem.function for problem in asked}
    answers = [(record, function[record["problem"]].judging(record["completion"])) for record in records]
    programs = list(dict.fromkeys(program for _, program in answers))
    good = dict(zip(programs, check(programs, "answers"), strict=True))
    return [{**record, "verdict": "passed" if good[program] else "failed"} for record, program in answers]


def with_references(asked: Sequence[Problem], judged: Sequence[Record]) -> list[Record]:
    """The records, and for problems that no answer solved the corpus's own function."""
    solved = {record["problem"] for record in judged if record["verdict"] == "passed"}
    own = (
        {"problem": one.id, "prompt": one.function.instruction, "completion": one.function.answer, "verdict": "passed"}
        for one in asked
        if one.id not in solved
    )
    return [*judged, *own]
