"""Evaluation as people run it: processes, files of their own, services, interruptions."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from albor.runs.store import Run, Store
from tests.command import COMMAND, TIMEOUT
from tests.command import albor as command
from tests.conftest import Outcome
from tests.service import Reply, completion, serving

pytestmark = pytest.mark.xdist_group("sandbox")
SMALL = ("debug=default", "tracking=none", "data.max_documents=20", "tokenizer.vocab_size=512", "model.vocab_size=512",
         "seed=7", "stage=eval")  # fmt: skip
OWN = ("task.humaneval.file=mine.jsonl", "task.humaneval.sha256=null")
HUMANEVAL = ("task=[humaneval]", *OWN)
ENDPOINT = ("tracking=none", "stage=eval", "eval.workers=1")


def problem(number: int, body: str = "") -> dict[str, str]:
    return {
        "task_id": f"Own/{number}",
        "prompt": f'def add{number}(x):\n    """x and {number}."""\n',
        "canonical_solution": body or f"    return x + {number}\n",
        "entry_point": f"add{number}",
        "test": f"def check(candidate):\n    assert candidate(1) == 1 + {number}\n",
    }


def write_problems(place: Path, *rows: Mapping[str, str], name: str = "mine.jsonl") -> Path:
    path = place / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def knows(*rows: Mapping[str, str]) -> Reply:
    """A service that knows the solutions of these problems, and none of others."""
    known = {row["prompt"].strip(): "\n" + row["canonical_solution"] for row in rows}
    return lambda number, body: (200, completion(known.get(body["prompt"], "\n    pass\n"), 5))


def runs(place: Path, stage: str) -> list[Run]:
    return [run for run in Store(place / "outputs").runs() if run.manifest.stage == stage]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def generations(place: Path, task: str = "humaneval") -> list[dict[str, Any]]:
    return records(runs(place, "eval")[-1].artifact / f"generations/{task}.jsonl")


def scores(place: Path) -> dict[str, Any]:
    return dict(json.loads((runs(place, "eval")[-1].artifact / "scores.json").read_text()))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_problems(tmp_path, *map(problem, range(4)))
    return tmp_path


# --- with a model ---


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small model and its evaluation."""
    place = tmp_path_factory.mktemp("built")
    write_problems(place, *map(problem, range(3)))
    done = command(*SMALL, *TASKS, cwd=place)
    assert done.returncode == 0, done.stderr
    return place


Command = Callable[..., Outcome]
TASKS = ("task=[humaneval,fim_exact,perplexity,samples]", *OWN, "task.fim_exact.functions=2")


def test_an_evaluation_leaves_scores_and_every_completion_with_its_verdict(built: Path) -> None:
    (run,) = runs(built, "eval")
    found = scores(built)
    assert {*found} == {"humaneval", "fim_exact"}
    assert found["humaneval"]["problems"] == 3 and 0 <= found["humaneval"]["pass@1"]["value"] <= 1
    assert {*found["fim_exact"]["groups"]} == {"single_line", "multi_line", "random_span"}
    assert found["fim_exact"]["problems"] == 6 and "empty" in found["fim_exact"]
    made = generations(built)
    assert [r["problem"] for r in made] == ["Own/0", "Own/1", "Own/2"]
    assert all({"prompt", "completion", "verdict", "detail", "seconds", "tokens"} <= {*r} for r in made)
    assert [r["prompt"] for r in made] == [problem(i)["prompt"].strip() for i in range(3)]
    assert all("suffix" in r for r in generations(built, "fim_exact"))
    assert run.manifest.facts["val_ppl"] > 1 and run.manifest.facts["scores"] == found
    assert len(records(run.artifact / "samples.jsonl")) == 4


def test_a_second_evaluation_does_nothing(built: Path) -> None:
    again = command(*SMALL, *TASKS, cwd=built)
    assert again.returncode == 0 and "nothing to do" in again.stderr and len(runs(built, "eval")) == 1


def test_a_model_above_the_threshold_fails(built: Path) -> None:
    done = command(*SMALL, *TASKS, "eval.threshold=1.0", cwd=built)
    assert done.returncode == 1 and "above eval.threshold=1" in done.stderr and "Traceback" not in done.stderr
    assert runs(built, "eval")[-1].manifest.status == "failed" and len(runs(built, "generate")) == 1


# --- files of one's own ---


def test_references_are_checked_without_a_model(place: Path, albor: Command) -> None:
    right = albor(*SMALL, *HUMANEVAL, "--validate-only")
    assert right.code == 0 and right.out.split()[4:7] == ["humaneval", "4", "4"], right.text
    write_problems(place, problem(0), problem(1, "    return x\n"), problem(2))
    wrong = albor(*SMALL, *HUMANEVAL, "--validate-only")
    assert wrong.code == 1 and "humaneval: Own/1: failed: assert candidate(1) == 1 + 1" in wrong.out
    assert "Own/0" not in wrong.out and not (place / "outputs").exists()


def test_a_task_of_ones_own_is_a_yaml(place: Path) -> None:
    (place / "conf/task").mkdir(parents=True)
    text = '# @package task.mine\nkind: humaneval\nfile: mine.jsonl\nsamples: 2\nstop: ["\\ndef"]\n'
    (place / "conf/task/mine.yaml").write_text(text)
    with serving(knows(*map(problem, range(3)))) as service:
        done = command(
            *ENDPOINT, "task=[mine]", f"eval.endpoint={service.url}", "--config-dir", "conf", cwd=place
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert len(service.bodies) == 8 and service.bodies[0]["stop"] == ["\ndef"]
    assert scores(place)["mine"]["pass@1"]["value"] == 0.75 and scores(place)["mine"]["samples"] == 2


def test_another_file_than_the_named_one_is_refused_before_anything_is_made(place: Path, albor: Command) -> None:
    found = hashlib.sha256((place / "mine.jsonl").read_bytes()).hexdigest()
    for more in ((), ("--validate-only",)):
        done = albor(*SMALL, "task=[humaneval]", OWN[0], *more)
        assert done.code == 2 and found in done.err and "task.humaneval.sha256=null" in done.err
    planned = albor("plan", *SMALL, "task=[humaneval]", OWN[0])
    assert planned.code == 0 and found in planned.text
    assert not (place / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("task.humaneval.file=mien.jsonl", "task.humaneval.sha256=null"), "mien.jsonl"),
        (("evals.data_dir=.",), "humaneval/HumanEval.jsonl.gz"),
    ],
)
def test_a_file_that_is_not_there_is_refused_before_anything_is_made(
    place: Path, albor: Command, words: tuple[str, ...], named: str
) -> None:
    done = albor(*SMALL, "task=[humaneval]", *words)
    assert done.code == 2 and named in done.err and "github.com/openai/human-eval" in done.err
    assert not (place / "outputs").exists()


def test_a_file_that_cannot_be_fetched_is_refused_before_anything_is_made(
    place: Path, albor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: object, **more: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    done = albor(*SMALL, "task=[humaneval]")
    assert done.code == 2 and "cannot be fetched: no route to host" in done.err and "evals.data_dir=DIR" in done.err
    assert not (place / "outputs").exists()


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([{**problem(0), "prompt": None}], "no field 'prompt'"),
        ([{**problem(0), "test": 3}], "no field 'test' that is text"),
        ([{k: v for k, v in problem(0).items() if k != "test"}], "no field 'test'"),
        ([problem(0), problem(0)], "two problems of task humaneval are called Own/0"),
        ([], "no list of records"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_reason(
    place: Path, albor: Command, rows: list[dict[str, Any]], cause: str
) -> None:
    write_problems(place, *rows)
    done = albor(*SMALL, *HUMANEVAL, "--validate-only")
    assert done.code == 2 and cause in done.err
    assert "mine.jsonl" in done.err and (not rows or "task humaneval" in done.err)


def test_problems_with_one_name_are_refused_by_an_evaluation_too(place: Path) -> None:
    write_problems(place, problem(0), problem(0))
    done = command(*ENDPOINT, *HUMANEVAL, "eval.endpoint=http://127.0.0.1:9/v1", cwd=place)
    assert done.returncode == 2 and "are called Own/0" in done.stderr and "Traceback" not in done.stderr


def test_a_mistyped_task_is_named(place: Path, albor: Command) -> None:
    done = albor(*SMALL, "task=[humanevl]")
    assert done.code == 2 and "humaneval" in done.err


@pytest.mark.parametrize("task", ["perplexity", "samples", "arc_easy"])
def test_what_a_service_cannot_answer_is_refused_before_anything_is_made(
    place: Path, albor: Command, task: str
) -> None:
    done = albor(*SMALL, *HUMANEVAL, f"task=[humaneval,{task}]", "eval.endpoint=http://127.0.0.1:9/v1")
    assert done.code == 2 and f"task {task} asks for probabilities" in done.err
    assert not (place / "outputs").exists()


@pytest.mark.parametrize("url", ["localhost:8000/v1", "127.0.0.1/v1", "ftp://host/v1", "http:///v1", "http://h:x/v1"])
def test_an_address_that_is_none_is_refused_before_anything_is_made(place: Path, albor: Command, url: str) -> None:
    done = albor(*SMALL, *HUMANEVAL, f"eval.endpoint={url}")
    assert done.code == 2 and "E-ENDPOINT" in done.err and f"'{url}' is no address" in done.err
    assert "--> eval.endpoint" in done.err
    assert ("http://HOST/v1" if "://" in url else f"http://{url}") in done.err
    assert not (place / "outputs").exists()


def test_a_threshold_without_a_perplexity_is_refused_before_anything_is_made(place: Path, albor: Command) -> None:
    done = albor(*SMALL, *HUMANEVAL, "eval.threshold=3")
    assert done.code == 2 and "which no task measures" in done.err and "task=[perplexity,…]" in done.err
    assert "E-EVAL" in done.err and "--> eval.threshold" in done.err
    assert not (place / "outputs").exists()


# --- a service in place of a model ---


def test_a_service_is_evaluated_without_any_model(place: Path, albor: Command) -> None:
    rows = [problem(i) for i in range(4)]
    with serving(knows(*rows[:1], *rows[2:])) as service:
        words = (*ENDPOINT, *HUMANEVAL, f"eval.endpoint={service.url}")
        done = command(*words, cwd=place)
        assert done.returncode == 0, done.stderr
        assert {run.manifest.stage for run in Store(place / "outputs").runs()} == {"generate", "eval"}
        assert scores(place)["humaneval"]["pass@1"]["value"] == 0.75
        assert scores(place)["humaneval"]["max_new_tokens"] == service.bodies[0]["max_tokens"] == 512
        assert [r["verdict"] for r in generations(place)] == ["passed", "failed", "passed", "passed"]
        assert "nothing to do" in albor(*words).err
    assert len(service.bodies) == 4
    (made,) = runs(place, "generate")
    refused = albor("stage=eval", "tracking=none", f"inputs.generations={made.directory.name}", "eval.threshold=3")
    assert refused.code == 2 and "which the given generations lack" in refused.err and len(runs(place, "eval")) == 1
    again = albor("stage=eval", "tracking=none", f"inputs.generations={made.directory.name}", "eval.seconds=9")
    assert again.code == 0 and len(runs(place, "eval")) == 2, again.err


def test_a_service_that_refuses_fails_the_run_with_its_words(place: Path) -> None:
    with serving(lambda number, body: (401, b"who are you?")) as service:
        done = command(*ENDPOINT, *HUMANEVAL, f"eval.endpoint={service.url}", cwd=place)
    assert done.returncode == 1 and "401: who are you?" in done.stderr and "E-ENDPOINT" in done.stderr
    assert "Traceback" not in done.stderr


# --- interruptions ---


def test_without_bubblewrap_nothing_is_started_but_completions_can_be_made(place: Path) -> None:
    with serving(knows(*map(problem, range(4)))) as service:
        words = (*ENDPOINT, *HUMANEVAL, f"eval.endpoint={service.url}")
        done = command(*words, cwd=place, PATH=str(place))
        assert done.returncode == 2 and "E-SANDBOX" in done.stderr and "bubblewrap" in done.stderr, done.stderr
        assert "eval.sandbox=none" in done.stderr and "stage=generate" in done.stderr and "Traceback" not in done.stderr
        assert service.bodies == [] and runs(place, "generate") == []
        generate = [word for word in words if not word.startswith(("stage=", "eval.workers="))]
        made = command(*generate, "stage=generate", cwd=place, PATH=str(place))
        assert made.returncode == 0, made.stderr
        assert [run.manifest.status for run in runs(place, "generate")] == ["done"]
        assert command(*words, cwd=place).returncode == 0
    assert len(service.bodies) == 4 and scores(place)["humaneval"]["pass@1"]["value"] == 1.0


def test_a_killed_evaluation_goes_on_where_it_was(place: Path) -> None:
    rows = [problem(i, f"    import time\n    time.sleep(0.2)\n    return x + {i}\n") for i in range(12)]
    write_problems(place, *rows)
    with serving(knows(*rows[:-1])) as service:
        words = (*ENDPOINT, *HUMANEVAL, f"eval.endpoint={service.url}")
        process = subprocess.Popen([*COMMAND, *words], cwd=place, stderr=subprocess.PIPE, start_new_session=True)
        try:
            kept = kill_at(place, 3)
            process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
        assert process.returncode != 0 and 3 <= len(kept) < 12
        again = command(*words, cwd=place)
        assert again.returncode == 0, again.stderr
    assert len(service.bodies) == 12
    made = generations(place)
    assert [r["problem"] for r in made] == [row["task_id"] for row in rows]
    assert [r["verdict"] for r in made] == ["passed"] * 11 + ["failed"]
    taken = {r["problem"]: (r["verdict"], r["seconds"]) for r in made}
    assert {r["problem"]: (r["verdict"], r["seconds"]) for r in kept}.items() <= taken.items()


def kill_at(place: Path, verdicts: int) -> list[dict[str, Any]]:
    """Kills the evaluation's process once it has so many verdicts, in the middle of writing another; what it had."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in place.glob("outputs/eval/*/work/humaneval.jsonl"):
            if path.read_bytes().count(b"\n") >= verdicts:
                os.kill(worker_of(path.parents[1].name), signal.SIGKILL)
                time.sleep(0.2)
                whole = path.read_bytes()
                kept = [json.loads(line) for line in whole[: whole.rfind(b"\n")].split(b"\n")]
                with path.open("ab") as file:
                    file.write(b'{"problem": "Own/9", "sam')
                return kept
        time.sleep(0.02)
    raise AssertionError("no verdicts came")


def worker_of(run: str) -> int:
    """The process that works on a run."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == sys.executable.encode() and b"albor.exec" in words and any(run.encode() in w for w in words):
            return int(path.parent.name)
    raise AssertionError(f"nothing works on {run}")
