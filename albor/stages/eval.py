"""How good a model is: its completions run in a sandbox or compared, counted, and put beside known models'."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.task import Executed, Generated, MultiPLE, Perplexity, Task
from albor.config.structure import converter
from albor.errors import AlborError
from albor.runs.files import write_text
from albor.stages.base import Context, Facts, Stage
from albor.stages.generate import label

SCORES = "scores.json"
LANGUAGE_TOOLS = {"js": "node", "cpp": "g++"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the eval stage alone."""

    name: Literal["eval"] = "eval"
    """The stage's name."""


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """bubblewrap, the compilers of the languages that are measured, and a perplexity where there is a threshold for it.
    Raises AlborError."""
    from albor.evals.sandbox.bubblewrap import refuse_without

    refuse_unmeasured(cfg, given["generations"] if cfg.inputs.get("generations") else None)
    specs = [spec for spec in cfg.task.values() if isinstance(spec, Executed)]
    if specs and cfg.eval.sandbox == "bubblewrap":
        refuse_without("bwrap")
    for spec in specs:
        if isinstance(spec, MultiPLE) and spec.language in LANGUAGE_TOOLS:
            refuse_without(LANGUAGE_TOOLS[spec.language])


def run(cfg: Whole, context: Context) -> Facts:
    given = context.inputs["generations"]
    refuse_unmeasured(cfg, given.facts)
    made = {key: value for key, value in given.facts.items() if key not in ("completions", "harness")}
    scores: dict[str, Any] = dict(given.facts.get("harness", {}))
    for name, spec in tasks_of(given.config).items():
        if isinstance(spec, Generated):
            scores[name] = measure(cfg, context, name, spec, int(given.config["seed"]))
    copy(given.path / "samples.jsonl", context.out)
    write_text(context.out / SCORES, json.dumps(scores, indent=1))
    facts = {**made, **({"scores": scores} if scores else {})}
    write_text(context.out / "eval.json", json.dumps(facts, indent=1))
    refuse_above(cfg.eval.threshold, facts)
    return facts


def tasks_of(config: Mapping[str, Any]) -> dict[str, Task]:
    """The tasks that the completions were made for."""
    problems: list[Any] = []
    tasks = converter(dict[str, Task | None])(config["task"], "task", problems)
    assert not problems, problems
    return {name: spec for name, spec in tasks.items() if spec is not None}


def measure(cfg: Whole, context: Context, name: str, spec: Generated, seed: int) -> dict[str, Any]:
    """A task's scores; its completions with their verdicts are written beside them."""
    from albor.evals import journal
    from albor.evals.scoring import empties, judge, sandbox_of, score, share_passed
    from albor.evals.tasks import judge_of
    from albor.evals.tasks.base import Problem

    given = context.inputs["generations"]
    problems = [Problem(**row) for row in journal.read(given.path / "problems" / f"{name}.jsonl")]
    records = journal.read(given.path / "generations" / f"{name}.jsonl")
    by_id = {problem.id: problem for problem in problems}
    by = judge_of(spec, seed)

    def judged_by(todo: Sequence[tuple[Problem, Any]], label: str) -> list[dict[str, Any]]:
        return judge(
            todo,
            by,
            lambda: sandbox_of(spec, cfg.eval),
            context.work / f"{label}.jsonl",
            workers=cfg.eval.workers or None,
            progress=lambda done, total: context.progress(done, total, label),
        )

    judged = judged_by([(by_id[record["problem"]], record) for record in records], name)
    journal.write(context.out / "generations" / f"{name}.jsonl", judged)
    found = score(spec, problems, judged)
    if holes := empties(problems):
        found["empty"] = share_passed(judged_by(holes, f"{name}-empty"))
    if given.config["eval"]["endpoint"]:
        from albor.inference.http import most_tokens

        found["max_new_tokens"] = most_tokens(spec.max_new_tokens, spec.max_length)  # whatever the prompt took
    return found


def copy(path: Path, to: Path) -> None:
    if path.exists():
        write_text(to / path.name, path.read_text(encoding="utf-8"))


def refuse_unmeasured(cfg: Whole, made: Facts | None) -> None:
    """Raises AlborError when there is a threshold and no perplexity: no task for it, or none in what was ``made``."""
    if cfg.eval.threshold is None:
        return
    if "val_ppl" in made if made is not None else any(isinstance(spec, Perplexity) for spec in cfg.task.values()):
        return
    missing = "no task measures" if made is None else "the given generations lack"
    raise AlborError(
        f"eval.threshold is about the validation perplexity, which {missing}",
        f"{'add the task' if made is None else 'make them with the task'}: task=[perplexity,…]",
        place="eval.threshold",
        code="E-EVAL",
    )


def refuse_above(threshold: float | None, facts: Facts) -> None:
    """Raises AlborError when the perplexity is above the threshold."""
    if threshold is None:
        return
    if not (found := facts["val_ppl"]) <= threshold:
        error = AlborError(
            f"the validation perplexity is {found:.4g}, above eval.threshold={threshold:g}",
            "train longer or on more, or raise the threshold",
            code="E-EVAL",
        )
        error.exit_code = 1
        raise error


STAGE = Stage(
    name="eval",
    version=5,
    makes="evaluation",
    config=Config,
    reads=tuple(f"eval.{key}" for key in ("threshold", "python", "sandbox", "workers", "seconds", "memory")),
    label=label,
    inputs=lambda cfg: {"generations": "generate"},
    requires=requires,
    run=run,
    accelerated=True,
    resumable=True,
)
