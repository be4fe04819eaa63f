"""Rows in which a teacher's own code stands among the corpus's: what a student learns from by distill.route=text.

The teacher writes the bodies of functions whose imports, signature and docstring the corpus gives. What the sandbox
passes is kept; the rest of the rows is replay, without which a student forgets its language (100% of a teacher's text
took the original's perplexity from 133 to 326, 10% to 148).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from albor.config.schema.config import Config as Whole
from albor.config.types import Count, NonNegativeFloat, Positive, PositiveFraction
from albor.errors import AlborError
from albor.runs.files import sha256_file, write_text
from albor.stages import distill, instructions, pretrain
from albor.stages.base import Context, Facts, Stage, Upstream, workshop

if TYPE_CHECKING:
    from albor.data.documents import Document
    from albor.data.functions import Candidate
    from albor.inference.text import Writer

GROUP = 512
"""Functions of one file of answers: what an interruption costs at most."""
STOP = ("\ndef ", "\nclass ", "\n@", "\nif ", "\nfor ", "\nprint(", "\nassert ", "\nimport ", "\nfrom ", "\n#", "\n```")
"""What begins the next statement of a file."""
KEPT = ("val_sequences", "val_tokens", "val_bytes", "row_len", "token_bytes", "vocab_size", "eos_id", "pad_id")
"""What the replayed rows say of themselves, and these too: validation rows are the same."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the teacher_text stage alone."""

    name: Literal["teacher_text"] = "teacher_text"
    """The stage's name."""
    max_functions: Count | None = None
    """Ask for at most so many functions, in the corpus's order; null asks for all."""
    doctests_only: bool = False
    """Ask only for functions whose docstring has tests."""
    samples: Positive = 1
    """Answers to each."""
    temperature: NonNegativeFloat = 0.8
    """Of the teacher's drawing; 0 takes its likeliest token each time."""
    top_p: PositiveFraction = 0.95
    """It draws from the fewest tokens whose probabilities reach this sum."""
    max_new_tokens: Positive = 512
    """Most tokens of an answer, the teacher's."""
    batch_size: Positive = 32
    """Answers written at a time."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    return {"rows": "pack", "documents": "prepare", "tokenizer": "tokenizer", "teacher": distill.teacher(cfg)}


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """The teacher, and the sandbox that its programs are run in. Raises AlborError."""
    distill.fetch_teacher(cfg, given)
    instructions.requires_sandbox(cfg)


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.parquet import link_shards, shards
    from albor.data.replay import mix
    from albor.data.rows import Rows

    replay = context.inputs["rows"]
    asked = functions(cfg, context)
    written = [text for group in answers(cfg, context, asked) for text in group if text is not None]
    kept = passed(cfg, context, written)
    if not kept:
        raise AlborError(
            f"of {len(asked) * cfg.stage.samples:,} functions that the teacher was asked for, none passed",
            "give a teacher that knows Python, or a larger corpus",
            code="E-TEACHER",
        )
    others = Rows(shards(replay.path, "train"))
    made = Rows(shards(pack_text(cfg, context, kept, others.row_len), "train"))
    mixed = mix(made, others, share=cfg.distill.text_share, seed=cfg.seed, out=context.out)
    link_shards(shards(replay.path, "val"), context.out, "val")
    return {
        **{key: replay.facts[key] for key in KEPT if key in replay.facts},
        **mixed,
        "asked": len(asked) * cfg.stage.samples,
        "written": len(written),
        "passed": len(kept),
        "tokenizer_sha256": sha256_file(context.inputs["tokenizer"].path / "tokenizer.json"),
    }


def pack_text(cfg: Whole, context: Context, kept: list[Document], row_len: int) -> Path:
    """Rows of the teacher's functions alone, as the replayed ones were packed; where they lie."""
    from albor.data import documents
    from albor.data.fim import FimMix
    from albor.data.pack import pack
    from albor.data.parquet import shard

    replayed = context.inputs["rows"].config
    place, out = context.work / "documents", context.work / "text"
    for directory in (place, out):
        directory.mkdir(exist_ok=True)
    documents.write(shard(place, "train", 0), kept)
    with workshop(cfg, context) as given:
        given["out"], given["work"] = out, context.work / "packing"
        pack(
            place,
            context.inputs["tokenizer"].path,
            row_len=row_len,
            fim=FimMix.of(replayed["data"]) if replayed else FimMix(rate=0.0, spm_rate=0.0),
            seed=cfg.seed,
            **given,
        )
    return out


def functions(cfg: Whole, context: Context) -> list[Candidate]:
    """What the teacher is asked for."""
    from albor.data.functions import candidates

    found = candidates(instructions.documents(context, "train"))
    return [one for one in found if one.doctests or not cfg.stage.doctests_only][: cfg.stage.max_functions]


def answers(cfg: Whole, context: Context, asked: list[Candidate]) -> Iterator[list[str | None]]:
    """The functions as the teacher writes them, None where it did not come to an end; those of an earlier attempt are
    taken as they are."""
    writer: Writer | None = None
    context.work.mkdir(exist_ok=True)
    for number, first in enumerate(range(0, len(asked), GROUP)):
        path = context.work / f"answers-{number:05d}.json"
        if not path.exists():
            writer = writer or writer_of(cfg, pretrain.local(context.inputs["teacher"]))
            write_text(path, json.dumps(ask(cfg, writer, asked[first : first + GROUP], first)))
        context.progress(min(first + GROUP, len(asked)), len(asked), "functions")
        yield json.loads(path.read_text(encoding="utf-8"))


def ask(cfg: Whole, writer: Writer, asked: list[Candidate], first: int) -> list[str | None]:
    """``stage.samples`` answers to each; the number of the first one is ``first``."""
    from albor.data.functions import completed
    from albor.inference.engine import Sampling, derive_seed
    from albor.inference.prompts import TextRequest

    stage = cfg.stage
    sampling = Sampling(temperature=stage.temperature, top_p=stage.top_p)
    requests = [
        TextRequest(
            prompt=f"{one.opening}\n",
            sampling=sampling,
            seed=derive_seed(cfg.seed, "teacher_text", number, sample),
            max_new_tokens=stage.max_new_tokens,
            stop=STOP,
        )
        for number, one in enumerate(asked, start=first)
        for sample in range(stage.samples)
    ]
    found: list[str | None] = [None] * len(requests)
    for index, answer in writer.write(requests):
        whole = answer.tokens is not None and answer.tokens < stage.max_new_tokens
        if whole and not answer.cut_prompt:
            found[index] = completed(asked[index // stage.samples].opening, answer.text)
    return found


def writer_of(cfg: Whole, place: Path) -> Writer:
    """The model of a directory as a writer, and its own tokenizer."""
    import torch

    from albor.data.tokenizer import Codec
    from albor.inference.text import EngineWriter
    from albor.inference.torch_engine import TorchEngine
    from albor.inference.transformers_engine import TransformersEngine
    from albor.training.run import DTYPES
    from albor.training.teacher import TransformersTeacher, is_ours, load_teacher, reading

    codec, device, dtype = Codec.of_model(place), cfg.trainer.accelerator, DTYPES[cfg.trainer.precision]
    size = cfg.stage.batch_size
    if is_ours(place):
        return EngineWriter(TorchEngine.load(place, device=device, dtype=dtype, batch_size=size), codec)
    teacher, known = load_teacher(place, dtype=dtype, device=torch.device(device), compile=False), reading(place)
    assert isinstance(teacher, TransformersTeacher)
    engine = TransformersEngine(teacher.model, eos=codec.eos_id, context=known.context, batch_size=size)
    return EngineWriter(engine, codec, start_id=known.start_id)


def passed(cfg: Whole, context: Context, written: list[str]) -> list[Document]:
    """Those that do something, of several that do the same the first, and that end without an error in the sandbox,
    after their docstrings' tests."""
    from albor.data.documents import Document
    from albor.data.functions import candidates

    texts = [Document(text, "teacher", "", "", str(number), "unknown") for number, text in enumerate(written)]
    made = list(candidates(texts))
    verdicts = instructions.checked([one.program for one in made], cfg, context, "functions run")
    return [replace(texts[int(one.path)], path="") for one, good in zip(made, verdicts, strict=True) if good]


STAGE = Stage(
    name="teacher_text",
    version=1,
    makes="rows",
    config=Config,
    reads=(
        "seed",
        "teacher",
        "distill.text_share",
        "trainer.precision",
        "trainer.accelerator",
        "eval.sandbox",
        "eval.workers",
    ),
    label=lambda cfg: f"{cfg.data.name}-{cfg.tokenizer.name}",
    inputs=inputs,
    requires=requires,
    run=run,
    accelerated=True,
    resumable=True,
)
