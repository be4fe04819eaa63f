"""Pairs of answers to one problem, of which one passed its tests and the other did not, packed into rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.errors import AlborError
from albor.stages import distill, instructions, pretrain
from albor.stages.base import Context, Cost, Facts, Stage, Upstream

if TYPE_CHECKING:
    from albor.data.tokenizer import Codec
    from albor.evals.answers import Problem
    from albor.evals.journal import Record

TAUGHT = Upstream(stage="finetune", makes="model", target=("objective=sft",), address="instruct", key="objective")
"""The model that answers, and that preferences are then taught to: one that examples have taught to answer."""
ANSWERS = "answers.jsonl"
"""A line for each answer: problem, sample, prompt, completion, tokens and verdict."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the preferences stage alone."""

    name: Literal["preferences"] = "preferences"
    """The stage's name."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    return {"documents": "prepare", "tokenizer": "tokenizer", "init_from": TAUGHT}


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """The sandbox. Raises AlborError."""
    instructions.requires_sandbox(cfg)


def cost(cfg: Whole, given: Mapping[str, Facts]) -> Cost:
    return Cost(notes=(f"{cfg.preferences.samples:,} answers to each problem",))


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.pairs import pack
    from albor.data.tokenizer import Codec
    from albor.evals import journal
    from albor.evals.answers import draw, judge, with_references
    from albor.evals.pairs import pairs
    from albor.inference.opening import open_engine
    from albor.runs.files import sha256_file

    wanted, tokenizer = cfg.preferences, context.inputs["tokenizer"].path
    codec, model = Codec.load(tokenizer), pretrain.local(context.inputs["init_from"])
    distill.refuse_other_tokens(codec, model)
    asked, counts = problems_of(cfg, context, codec)
    answers = draw(
        asked,
        open_engine(model, batch_size=cfg.eval.batch_size),
        codec,
        wanted,
        context.work / ANSWERS,
        seed=cfg.seed,
        progress=lambda done, total: context.progress(done, total, "answers"),
    )
    judged = judge(asked, answers, lambda programs, what: instructions.checked(programs, cfg, context, what))
    journal.write(context.out / ANSWERS, judged)
    counts |= outcomes(asked, judged)
    known = with_references(asked, judged) if wanted.reference else judged
    found = list(pairs(known, per_problem=wanted.pairs_per_problem))
    if not found:
        raise without_pairs(cfg, counts)
    facts = pack(
        found, codec, seq_len=cfg.data.seq_len // 2, val_fraction=wanted.val_fraction, seed=cfg.seed, out=context.out
    )
    return {**counts, **facts, "tokenizer_sha256": sha256_file(tokenizer / "tokenizer.json")}


def problems_of(cfg: Whole, context: Context, codec: Codec) -> tuple[list[Problem], dict[str, Any]]:
    """The problems, and what became of the corpus's functions. Raises AlborError when there are none."""
    from albor.data.functions import candidates
    from albor.evals.answers import problems, telling

    length = cfg.data.seq_len // 2
    all_of_them = list(problems(candidates(instructions.documents(context, "train")), codec, length=length))
    fitting = [one for one in all_of_them if one is not None][: cfg.preferences.max_problems]
    found = telling(fitting, lambda programs, what: instructions.checked(programs, cfg, context, what))
    counts = {
        "functions_with_doctests": len(all_of_them),
        "functions_too_long": all_of_them.count(None),
        "functions_not_judged": len(fitting) - len(found),
        "problems": len(found),
    }
    if not found:
        raise AlborError(
            f"no problem to answer: of {len(all_of_them):,} functions with doctests in the corpus, "
            f"{counts['functions_too_long']:,} are longer than {length} tokens with what asks for them, and of the "
            "others none is told from an empty answer by its tests",
            f"raise data.seq_len (a pair is two conversations, each of half as many tokens), here and for the run that "
            f"learns from them: data.seq_len={2 * cfg.data.seq_len} up.preferences.data.seq_len={2 * cfg.data.seq_len};"
            " or take a larger corpus",
            code="E-DATA",
        )
    return found, counts


def outcomes(asked: list[Problem], judged: list[Record]) -> dict[str, int]:
    """How many answers passed, and for how many problems all, some or none of them."""
    verdicts: dict[str, set[bool]] = {problem.id: set() for problem in asked}
    for record in judged:
        verdicts[record["problem"]].add(record["verdict"] == "passed")
    found = list(verdicts.values())
    return {
        "answers": len(judged),
        "answers_passed": sum(record["verdict"] == "passed" for record in judged),
        "problems_with_both": found.count({True, False}),
        "problems_all_passed": found.count({True}),
        "problems_none_passed": found.count({False}),
    }


def without_pairs(cfg: Whole, counts: Mapping[str, int]) -> AlborError:
    samples = cfg.preferences.samples
    more = f"draw more answers: preferences.samples={4 * samples}"
    if counts["problems_none_passed"]:
        more += "; or let a model answer that was trained for longer (up.instruct.KEY speaks of it)"
        if not cfg.preferences.reference:
            more += "; or prefer the corpus's own functions where it fails: preferences.reference=true"
    else:
        more += f" preferences.temperature={cfg.preferences.temperature + 0.4:g}"
    return AlborError(
        f"no pair to learn from: of {counts['answers']:,} answers to {counts['problems']:,} problems "
        f"{counts['answers_passed']:,} passed, and none was to a problem with others that failed "
        f"({counts['problems_all_passed']:,} problems with passing answers only, {counts['problems_none_passed']:,} "
        "with none)",
        more,
        code="E-DATA",
    )


STAGE = Stage(
    name="preferences",
    version=1,
    makes="preferences",
    config=Config,
    reads=("preferences", "data.seq_len", "seed", "eval.sandbox", "eval.workers", "eval.batch_size"),
    label=lambda cfg: f"{cfg.data.name}-{cfg.model.name}",
    inputs=inputs,
    requires=requires,
    cost=cost,
    run=run,
    resumable=True,
)
