"""The folder that the Big Code leaderboard takes submissions in, and the board's own way of reading it.

``community_results/ORG_MODEL_USER/`` holds ``ORG_MODEL_USER.json`` with the scores, ``generations_MODEL/`` with every
program and ``metrics_MODEL/`` with what bigcode-evaluation-harness would have printed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albor.errors import AlborError
from albor.evals import journal
from albor.runs.store import write_out

TASKS = {"humaneval": "humaneval", "multipl_e_js": "multiple-js", "multipl_e_cpp": "multiple-cpp"}
"""Our tasks that the board lists, and what it calls them; its Python is humaneval."""
PARAMETERS = {"temperature": 0.2, "top_p": 0.95, "max_length": 512}
"""What completions must have been drawn with."""
SAMPLES = 50
PROBLEMS = {"humaneval": 164, "multipl_e_js": 161, "multipl_e_cpp": 161}
"""How many problems each has: the board takes no score of some of them."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]*")


def bundle(
    evaluation: Path,
    config: Mapping[str, Any],
    scores: Mapping[str, Any],
    *,
    org: str,
    model: str,
    user: str,
    out: Path,
) -> Path:
    """Writes the folder below ``out`` and gives its path.

    ``evaluation`` is an evaluation's artifact, ``config`` that of its completions. Raises AlborError when the board
    would not take it, or the folder exists.
    """
    for flag, value in (("org", org), ("model", model), ("user", user)):
        if not NAME.fullmatch(value):
            cause = f"'{value}' cannot stand in the names of the board's files, which are split at underscores"
            raise AlborError(cause, f"--{flag} takes letters, digits, points and hyphens", code="E-EVAL")
    chosen = {task: config["task"][task] for task in TASKS if task in scores and config["task"].get(task)}
    if not chosen:
        known = ", ".join(TASKS)
        raise AlborError(f"this evaluation has no task of the board ({known})", "albor eval RUN eval=leaderboard")
    for task, spec in chosen.items():
        refuse(task, spec, scores[task])
    label = f"{org}_{model}_{user}"
    folder = out / "community_results" / label
    if folder.exists():
        raise AlborError(f"{folder} exists", "move it away, or choose another place: --out DIR", code="E-EVAL")
    partial = folder.with_name(f".{label}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    results = []
    for task, spec in chosen.items():
        board, value = TASKS[task], scores[task]["pass@1"]["value"]
        results.append({"task": board, "pass@1": value})
        programs = generations(journal.read(evaluation / "generations" / f"{task}.jsonl"))
        _write(partial / f"generations_{model}" / f"generations_{board}_{model}.json", programs)
        metrics = {board: {f"pass@{k}": scores[task][f"pass@{k}"]["value"] for k in ks(scores[task])}}
        settings = {"model": f"{org}/{model}", "n_samples": SAMPLES, "max_length_generation": PARAMETERS["max_length"]}
        drawn = {key: spec[key] for key in ("temperature", "top_p")}
        metrics["config"] = {**settings, **drawn, "top_k": 0, "do_sample": True, "tasks": board}
        _write(partial / f"metrics_{model}" / f"metrics_{board}_{model}.json", metrics)
    _write(partial / f"{label}.json", {"results": results, "meta": {"model": f"{org}/{model}"}})
    if grouped(partial / f"metrics_{model}") != results:
        raise AssertionError("the board would read other scores from this folder")
    partial.rename(folder)
    return folder


def refuse(task: str, spec: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raises AlborError when a task was not measured as the board asks."""
    wrong = [f"{key} {spec[key]} instead of {value}" for key, value in PARAMETERS.items() if spec[key] != value]
    if found["samples"] != SAMPLES:
        wrong.append(f"{found['samples']} samples a problem instead of {SAMPLES}")
    if found["problems"] != PROBLEMS[task]:
        wrong.append(f"{found['problems']} problems instead of {PROBLEMS[task]}")
    if wrong:
        fix = f"measure it again: eval=leaderboard eval.limit=null task.{task}.max_length={PARAMETERS['max_length']}"
        raise AlborError(f"{task} was measured with {', '.join(wrong)}", fix, code="E-EVAL")


def generations(records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A list of programs for each problem, in the benchmark's order."""
    programs: dict[str, list[str]] = {}
    for record in records:
        programs.setdefault(record["problem"], []).append(record["prompt"] + record["completion"])
    return list(programs.values())


def ks(found: Mapping[str, Any]) -> list[int]:
    return [int(key.removeprefix("pass@")) for key in found if key.startswith("pass@")]


def grouped(metrics: Path) -> list[dict[str, Any]]:
    """What the board reads from a folder of metrics: a task's name stands behind the first underscore of its file's,
    and is the key of its scores."""
    results = []
    for path in sorted(metrics.glob("*.json"), key=lambda p: list(TASKS.values()).index(p.name.split("_")[1])):
        task = path.name.split("_")[1]
        results.append({"task": task, "pass@1": json.loads(path.read_text(encoding="utf-8"))[task]["pass@1"]})
    return results


def _write(path: Path, content: Any) -> None:
    write_out(path, json.dumps(content, indent=1, ensure_ascii=False), "--out DIR")
