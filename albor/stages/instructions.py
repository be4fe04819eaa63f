"""Examples of what is asked and answered, packed into rows in which only answers are learnt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.finetune import CorpusInstructions, JsonlInstructions
from albor.errors import AlborError
from albor.stages.base import Context, Facts, Stage, Upstream

if TYPE_CHECKING:
    from albor.data.chat import Conversation
    from albor.data.documents import Document
    from albor.data.functions import Candidate


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the instructions stage alone."""

    name: Literal["instructions"] = "instructions"
    """The stage's name."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    documents = {"documents": "prepare"} if isinstance(cfg.instructions, CorpusInstructions) else {}
    return {**documents, "tokenizer": "tokenizer"}


def identity(cfg: Whole) -> dict[str, str]:
    """What the files hold."""
    from albor.evals.files import digest

    if isinstance(cfg.instructions, CorpusInstructions):
        return {}
    return {f"instructions.{path.name}": digest(path) for path in files(cfg.instructions)}


def files(wanted: JsonlInstructions) -> list[Path]:
    path = Path(wanted.path)
    return sorted(path.glob("*.jsonl")) if path.is_dir() else [path] if path.is_file() else []


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """The files, or the sandbox that the corpus's functions are run in. Raises AlborError."""
    wanted = cfg.instructions
    if isinstance(wanted, CorpusInstructions):
        requires_sandbox(cfg)
    elif not files(wanted):
        raise AlborError(
            f"there are no instructions at {wanted.path}",
            "give a file of JSON lines, or a directory of *.jsonl",
            place="instructions.path",
            code="E-DATA",
        )


def requires_sandbox(cfg: Whole) -> None:
    """Raises AlborError when programs are to be contained and nothing here can."""
    from albor.evals.sandbox.bubblewrap import refuse_without

    if cfg.eval.sandbox == "bubblewrap":
        refuse_without("bwrap")


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.instruction_rows import pack
    from albor.data.tokenizer import Codec
    from albor.runs.files import sha256_file

    tokenizer = context.inputs["tokenizer"].path
    train, val, found = conversations(cfg, context)
    codec = Codec.load(tokenizer)
    facts = pack(train, codec, row_len=cfg.data.seq_len, val=val, seed=cfg.seed, out=context.out)
    return {**facts, **found(), "tokenizer_sha256": sha256_file(tokenizer / "tokenizer.json")}


def conversations(cfg: Whole, context: Context) -> tuple[Iterable[Conversation], float | Iterable[Conversation], Any]:
    """Those to train on, those for validation or their share, and what there is to say of them in the end."""
    from albor.data.instructions import InstructionFiles

    wanted = cfg.instructions
    if isinstance(wanted, JsonlInstructions):
        read = InstructionFiles(Path(wanted.path), skip_malformed=wanted.skip_malformed)
        return read, wanted.val_fraction, lambda: {"malformed": read.malformed, "malformed_at": list(read.places)}
    train, val = (list(passed(cfg, context, split)) for split in ("train", "val"))
    doctests = sum(bool(one.doctests) for one in (*train, *val))
    return [one.conversation for one in train], [one.conversation for one in val], lambda: {"with_doctests": doctests}


def passed(cfg: Whole, context: Context, split: str) -> Iterator[Candidate]:
    """The functions of a split of the corpus that ran, and passed their own tests if they had any."""
    from albor.data.functions import candidates

    wanted = cfg.instructions
    assert isinstance(wanted, CorpusInstructions)
    made = [one for one in candidates(documents(context, split)) if one.doctests or not wanted.doctests_only]
    made = made[: wanted.max_examples]
    verdicts = checked([one.program for one in made], cfg, context, f"functions of {split}")
    yield from (one for one, good in zip(made, verdicts, strict=True) if good)


def checked(programs: Sequence[str], cfg: Whole, context: Context, what: str) -> list[bool]:
    """Whether each program passes in the config's sandbox; ``what`` they are, for the progress. Raises AlborError."""
    from albor.evals.checks import check
    from albor.evals.sandbox.bubblewrap import this_python
    from albor.evals.sandbox.workers import Sandbox

    return check(
        programs,
        Sandbox(this_python(), contained=cfg.eval.sandbox == "bubblewrap"),
        workers=cfg.eval.workers or None,
        progress=lambda done, total: context.progress(done, total, what),
    )


def documents(context: Context, split: str) -> Iterator[Document]:
    from albor.data import documents
    from albor.data.parquet import shards

    every = (document for path in shards(context.inputs["documents"].path, split) for document in documents.read(path))
    for count, document in enumerate(every, 1):
        if count % 1_000 == 0:
            context.progress(count, 0, f"documents of {split}")
        yield document


STAGE = Stage(
    name="instructions",
    version=1,
    makes="instructions",
    config=Config,
    reads=("instructions", "data.seq_len", "seed", "eval.sandbox", "eval.workers"),
    label=lambda cfg: f"{cfg.data.name}-{cfg.instructions.kind}",
    inputs=inputs,
    identity=identity,
    requires=requires,
    run=run,
)
