"""Multiple-choice and cloze benchmarks through lm-eval: its prompts, its scoring, our engine.

The data and a task YAML are written out, so that lm-eval's own command measures the exported model on the same items:
``lm_eval --model hf --model_args pretrained=MODEL --tasks arc_easy --include_path DIR``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from albor.config.schema.task import LmEval
from albor.errors import AlborError
from albor.evals import files
from albor.inference.engine import Engine, Told, silent
from albor.inference.prompts import Tokens

METRICS = ("acc", "acc_norm", "perplexity")
LIKELIHOODS = "the tasks here ask for likelihoods of continuations only; completions are the generate stage's affair"
Z95 = 1.96
"""Standard errors on either side of a 95% interval."""
MULTIPLE_CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{query}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{gold}}",
    "metric_list": [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
    ],
}
CLOZE = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
    "doc_to_target": "{{' '+text.split(' ')[-1]}}",
    "metric_list": [
        {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
    ],
}


def measure(
    name: str,
    spec: LmEval,
    paths: Sequence[Path],
    engine: Engine,
    tokens: Tokens,
    out: Path,
    *,
    limit: int | None,
    progress: Told = silent,
) -> dict[str, Any]:
    """Each metric's value with its 95% interval, and the number of items. Raises AlborError.

    ``progress`` hears how many continuations of how many are measured.
    """
    write_task(name, spec, paths, out, limit=limit)
    evaluate, manager = _lm_eval()
    model = adapter(engine, tokens, progress)
    with _quiet():
        found = evaluate(
            model=model,
            tasks=[f"albor_{name}"],
            task_manager=manager(include_path=str(out), include_defaults=False),
            bootstrap_iters=1000,
            log_samples=False,
        )
    scores = found["results"][f"albor_{name}"]
    result: dict[str, Any] = {"problems": int(found["n-samples"][f"albor_{name}"]["effective"])}
    for metric in METRICS:
        value, error = scores.get(f"{metric},none"), scores.get(f"{metric}_stderr,none")
        if value is not None:
            spread = Z95 * error if isinstance(error, float) else 0.0
            most = math.inf if metric == "perplexity" else 1.0
            low, high = max(0.0, value - spread), min(most, value + spread)
            result[metric] = {"value": float(value), "low": low, "high": high}
    return result


def write_task(name: str, spec: LmEval, paths: Sequence[Path], out: Path, *, limit: int | None = None) -> None:
    """``NAME.jsonl`` and the YAML by which lm-eval finds it."""
    out.mkdir(parents=True, exist_ok=True)
    with files.named(name, paths):
        rows = list(READERS[spec.task](paths))[:limit]
        for row in rows:
            if "gold" in row and row["gold"] not in range(len(row["choices"])):
                cause = f"the answer of a question is choice {row['gold']} of {len(row['choices'])}"
                raise AlborError(f"{cause}: {row['query'][:80]!r}", f"get the file of task {name} again", code="E-DATA")
    data = out / f"{name}.jsonl"
    data.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    task = {
        "task": f"albor_{name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.absolute())}},
        "test_split": "test",
        "num_fewshot": 0,
        **(CLOZE if spec.task == "lambada" else MULTIPLE_CHOICE),
    }
    (out / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False), encoding="utf-8")


def _arc(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for row in files.read(paths):
        question = files.field(row, "question", "ARC")
        choices, gold = (files.field(row, name, "ARC") for name in ("choices", "gold"))
        yield {"query": f"Question: {question}\nAnswer:", "choices": choices, "gold": gold}


def _hellaswag(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Six lines an item: activity and context, the right ending's number, four endings."""
    for path in paths:
        lines = files.read_text(path).splitlines()
        for start in range(0, len(lines) - 5, 6):
            query, gold, *choices = lines[start : start + 6]
            if not gold.isdecimal():
                raise files.unreadable(path, f"line {start + 2} is no ending's number")
            yield {"query": query, "choices": choices, "gold": int(gold)}


def _piqa(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Beside ``valid.jsonl`` lies ``valid-labels.lst``, a 0 or 1 per line."""
    labels = files.labels(paths[0])
    if not labels.is_file():
        raise AlborError(
            f"PIQA's answers are not there: {labels}", "put the labels beside the questions", code="E-DATA"
        )
    golds, rows = files.read_text(labels).split(), files.read(paths)
    if len(golds) != len(rows) or not all(map(str.isdecimal, golds)):
        raise files.unreadable(labels, f"it is no list of {len(rows):,} numbers, one for each question")
    for row, gold in zip(rows, golds, strict=True):
        query = f"Question: {files.field(row, 'goal', 'PIQA')}\nAnswer:"
        choices = [files.field(row, name, "PIQA") for name in ("sol1", "sol2")]
        yield {"query": query, "choices": choices, "gold": int(gold)}


def _lambada(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for row in files.read(paths):
        yield {"text": files.field(row, "text", "LAMBADA")}


READERS = {"arc_easy": _arc, "hellaswag": _hellaswag, "piqa": _piqa, "lambada": _lambada}


def _lm_eval() -> tuple[Any, Any]:
    """lm-eval's evaluator and task manager. Raises AlborError when it is not installed."""
    try:
        from lm_eval import evaluator
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise AlborError(
            f"ARC, HellaSwag, PIQA and LAMBADA are measured through lm-eval, which is not installed ({error})",
            "pip install 'albor[eval]'",
            code="E-EVAL",
        ) from None
    # Its resamples need no processes: what is forked beside threads and a device may never end.
    os.environ["DISABLE_MULTIPROC"] = "1"
    # It asks git for the commit of the directory it runs in, and git complains where that is no repository.
    evaluator.get_git_commit_hash = lambda: None
    return evaluator.simple_evaluate, TaskManager


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and prints of lm-eval and datasets: what is told of progress is ours.

    They ask for each bar by name, so that tqdm's own setting does not reach them.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    made = tqdm.__init__

    def disabled(bar: tqdm, *given: Any, **named: Any) -> None:
        made(bar, *given, **{**named, "disable": True})

    with patch.object(tqdm, "__init__", disabled), redirect_stdout(StringIO()):
        yield


def adapter(engine: Engine, tokens: Tokens, progress: Told = silent) -> Any:
    """Our engine as lm-eval's model; how a context and its continuation become tokens stays lm-eval's affair."""
    from lm_eval.api.model import TemplateLM

    class AlborLM(TemplateLM):
        @property
        def eot_token_id(self) -> int:
            return tokens.eos_id

        @property
        def max_length(self) -> int:
            return engine.context

        def tok_encode(self, string: str, **_: Any) -> list[int]:
            return tokens.encode(string)

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            return engine.loglikelihood([(context, continuation) for _, context, continuation in requests], progress)

        def loglikelihood_rolling(self, requests: Any, **_: Any) -> list[float]:
            raise TypeError(LIKELIHOODS)

        def generate_until(self, requests: Any, **_: Any) -> list[str]:
            raise TypeError(LIKELIHOODS)

    return AlborLM()
