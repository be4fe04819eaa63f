"""What a model says: completions of benchmark problems, and how likely it finds given texts. Needs no sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.run import Eval
from albor.config.schema.task import Benchmark, FimExact, Generated, LmEval, Perplexity, Samples, Task
from albor.errors import AlborError
from albor.runs.files import write_text
from albor.stages.base import Context, Cost, Facts, Stage, Upstream
from albor.stages.pretrain import bytes_per_token

if TYPE_CHECKING:
    from albor.data.tokenizer import Codec
    from albor.evals.generation import Job
    from albor.inference.engine import Engine
    from albor.inference.text import Writer

EFFICIENCY = 0.1
"""Share of the speed of training that generation is expected to reach, in arithmetic."""
LENGTH = 200
"""Tokens that a completion is expected to take."""
ROWS = "rows.jsonl"
"""A line for each validation row: its number, summed negative log-likelihood (nats), and the tokens predicted."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the generate stage alone."""

    name: Literal["generate"] = "generate"
    """The stage's name."""


def chosen(cfg: Whole) -> dict[str, Task]:
    """The tasks that are not left out."""
    return {name: spec for name, spec in cfg.task.items() if spec is not None}


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    """Raises AlborError, before anything is built, when the service's address is none or a task asks for more than a
    service gives."""
    from albor.inference.address import refuse_address

    if cfg.eval.endpoint:
        refuse_address(cfg.eval.endpoint)
    for name, spec in chosen(cfg).items():
        if cfg.eval.endpoint and not isinstance(spec, Generated):
            raise AlborError(
                f"task {name} asks for probabilities or a tokenizer, which a completions service does not give",
                "leave the task out, or measure a model of albor's or a directory: inputs.model=DIR",
                code="E-EVAL",
            )
    needed: dict[str, str | Upstream] = {}
    if not cfg.eval.endpoint:
        needed["model"] = Upstream(stage=cfg.eval.of, makes="model", key="eval.of")
    kinds = {type(spec) for spec in chosen(cfg).values()}
    if Perplexity in kinds:
        needed["rows"] = "pack"
    if FimExact in kinds:
        needed["documents"] = "prepare"
    return needed


def label(cfg: Whole) -> str:
    """The model, the stage that made it where that is not the first rung, and the suite."""
    rung = [] if cfg.eval.of == Eval.of else [cfg.eval.of]
    return "-".join([cfg.model.name, *rung, cfg.eval.name])


def with_files(cfg: Whole) -> dict[str, Benchmark | LmEval]:
    """The tasks whose problems come in files."""
    return {
        name: spec
        for name, spec in chosen(cfg).items()
        if isinstance(spec, (Benchmark, LmEval)) and not isinstance(spec, FimExact)
    }


def identity(cfg: Whole) -> dict[str, str]:
    """What the files of the tasks hold."""
    from albor.evals import files

    return files.identity(with_files(cfg), cfg.evals.data_dir)


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """The tasks' files; those on the Hub are fetched now, for after the training is late to hear that they cannot be.
    Raises AlborError."""
    from albor.evals import files

    for name, spec in with_files(cfg).items():
        files.locate(name, spec, cfg.evals.data_dir)


def cost(cfg: Whole, given: Mapping[str, Facts]) -> Cost:
    """Time for the completions, as if each took LENGTH tokens."""
    from albor.evals import files

    completions = 0
    for spec in chosen(cfg).values():
        if isinstance(spec, FimExact):
            completions += 3 * spec.functions * (cfg.eval.samples or spec.samples)
        elif isinstance(spec, Benchmark):
            path = files.local(spec, cfg.evals.data_dir)
            if path is not None and path.is_file():
                problems = len(files.read([path]))
                completions += min(problems, cfg.eval.limit or problems) * (cfg.eval.samples or spec.samples)
    if not completions or cfg.eval.endpoint:
        return Cost()
    flops = 2.0 * cfg.model.num_parameters * completions * LENGTH
    return Cost(
        tokens=completions * LENGTH,
        seconds=flops / (cfg.hardware.peak_flops.float32 * cfg.hardware.mfu * EFFICIENCY),
        notes=(f"{completions:,} completions",),
    )


def run(cfg: Whole, context: Context) -> Facts:
    from albor.evals.generation import complete, refuse_lossy

    tasks = chosen(cfg)
    jobs = list(problems_of(cfg, context, tasks))  # a file that is missing is found before anything is computed
    model = None if cfg.eval.endpoint else load(cfg, context)
    if model is not None:
        refuse_lossy(model[1], jobs)
    facts: dict[str, Any] = {}
    for name, spec in tasks.items():
        if isinstance(spec, Perplexity):
            assert model is not None
            facts |= perplexity(cfg, context, model[0])
        elif isinstance(spec, Samples):
            assert model is not None
            facts |= samples(cfg, context, model)
        elif isinstance(spec, LmEval):
            assert model is not None
            facts.setdefault("harness", {})[name] = harness(cfg, context, name, spec, model)
    if jobs:
        facts["completions"] = complete(
            jobs,
            writer_of(cfg, model),
            work=context.work,
            out=context.out,
            seed=cfg.seed,
            progress=context.progress,
        )
    write_text(context.out / "generate.json", json.dumps(facts, indent=1))
    return facts


Loaded = tuple["Engine", "Codec"]


def load(cfg: Whole, context: Context) -> Loaded:
    from albor.data.tokenizer import Codec
    from albor.inference.opening import open_engine

    directory = context.inputs["model"].path
    return open_engine(directory, batch_size=cfg.eval.batch_size), Codec.of_model(directory)


def writer_of(cfg: Whole, model: Loaded | None) -> Writer:
    from albor.inference.http import HttpWriter
    from albor.inference.text import EngineWriter

    if model is not None:
        return EngineWriter(*model)
    wanted = cfg.eval
    assert wanted.endpoint is not None
    at_once = {"at_once": wanted.batch_size} if wanted.batch_size else {}
    return HttpWriter(wanted.endpoint, model=wanted.endpoint_model, key_env=wanted.endpoint_key_env, **at_once)


def problems_of(cfg: Whole, context: Context, tasks: Mapping[str, Task]) -> Iterator[Job]:
    from albor.data import documents
    from albor.data.parquet import shards
    from albor.evals import files
    from albor.evals.generation import Job
    from albor.evals.tasks import judge_of, problems

    for name, spec in tasks.items():
        if isinstance(spec, FimExact):
            paths = [context.inputs["documents"].path]
            rows = [{"text": document.text} for path in shards(paths[0], "val") for document in documents.read(path)]
        elif isinstance(spec, Generated):
            paths = files.locate(name, spec, cfg.evals.data_dir)
            rows = files.read(paths)
        else:
            continue
        by = judge_of(spec, cfg.seed)
        with files.named(name, paths):
            found = problems(name, by, rows, cfg.eval.limit)
        yield Job(name, spec, found, cfg.eval.samples or spec.samples, by.stop)


def perplexity(cfg: Whole, context: Context, engine: Engine) -> Facts:
    """What the rows come to together; each row's own loss is written down, for comparisons in pairs."""
    from albor.data.parquet import shards
    from albor.data.rows import Rows
    from albor.evals import journal
    from albor.evals.perplexity import losses, perplexity

    rows = context.inputs["rows"]
    scores = losses(
        engine,
        Rows(shards(rows.path, "val")),
        limit=cfg.eval.max_rows,
        progress=lambda done, total: context.progress(done, total, "rows"),
    )
    lines = [{"row": row, "nll": score.nll, "tokens": score.count} for row, score in enumerate(scores)]
    journal.write(context.out / ROWS, lines)
    return perplexity(scores, bytes_per_token=bytes_per_token(rows.facts))


def samples(cfg: Whole, context: Context, model: Loaded) -> Facts:
    from albor.evals.samples import complete
    from albor.inference.engine import Sampling

    wanted = cfg.eval
    sampling = Sampling(temperature=wanted.temperature, top_p=wanted.top_p)
    found = complete(*model, wanted.prompts, sampling, max_new_tokens=wanted.max_new_tokens, seed=cfg.seed)
    write_text(context.out / "samples.jsonl", "".join(f"{json.dumps(sample)}\n" for sample in found))
    return {"samples": len(found)}


def harness(cfg: Whole, context: Context, name: str, spec: LmEval, model: Loaded) -> Facts:
    from albor.evals.files import locate
    from albor.evals.harness import measure

    paths = locate(name, spec, cfg.evals.data_dir)
    out, limit = context.out / "harness", cfg.eval.limit
    return measure(
        name, spec, paths, *model, out, limit=limit, progress=lambda done, total: context.progress(done, total, name)
    )


STAGE = Stage(
    name="generate",
    version=4,
    makes="generations",
    config=Config,
    reads=(
        "task",
        "evals",
        "seed",
        *(
            f"eval.{key}"
            for key in ("of", "max_rows", "batch_size", "prompts", "max_new_tokens", "temperature", "top_p")
        ),
        *(f"eval.{key}" for key in ("samples", "limit", "endpoint", "endpoint_model", "endpoint_key_env")),
    ),
    label=label,
    inputs=inputs,
    identity=identity,
    requires=requires,
    cost=cost,
    run=run,
    accelerated=True,
    resumable=True,
)
