"""A GGUF file of a model, which llama.cpp runs: the rung q4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.config.types import Text
from albor.errors import AlborError
from albor.stages.base import Context, Facts, Stage, Upstream

FILE = "model.gguf"
LIBRARIES = ("gguf", "xllamacpp")
"""What writes the file, and what runs it."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the quantize stage alone."""

    name: Literal["quantize"] = "quantize"
    """The stage's name."""
    of: Text = "prune"
    """The stage whose model is quantised."""


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """Raises AlborError when a library is not installed."""
    for library in LIBRARIES:
        if find_spec(library) is None:
            raise AlborError(f"the package {library} is not installed", "pip install 'albor[gguf]'", code="E-MODEL")


def run(cfg: Whole, context: Context) -> Facts:
    from albor.models.companions import copy_companions, describe
    from albor.models.gguf import write_gguf

    given = context.inputs["model"].path
    write_gguf(
        given,
        context.out / FILE,
        kind=cfg.quantize.kind,
        embedding_kind=cfg.quantize.embedding,
        progress=lambda done, total: context.progress(done, total, "tensors"),
    )
    copy_companions(given, context.out)
    size = (context.out / FILE).stat().st_size
    facts = describe(given)
    return {**facts, "kind": cfg.quantize.kind, "bytes": size, "bits_per_weight": 8 * size / facts["parameters"]}


STAGE = Stage(
    name="quantize",
    version=1,
    makes="model",
    config=Config,
    reads=("quantize",),
    label=lambda cfg: f"{cfg.model.name}-{cfg.quantize.kind}",
    inputs=lambda cfg: {"model": Upstream(stage=cfg.stage.of, makes="model", key="stage.of")},
    requires=requires,
    run=run,
)
