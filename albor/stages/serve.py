"""Models over HTTP, until somebody stops it: every rung of a ladder, a stage's own model, or models that there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec

from albor.config.schema.config import Config as Whole
from albor.config.schema.serve import Serve
from albor.errors import AlborError
from albor.stages.base import Context, Facts, Stage, Upstream

LIBRARIES = ("starlette", "uvicorn", "msgspec", "prometheus_client")


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    """The models, by the names they are served under. Raises AlborError when there is none."""
    if cfg.stage.models:
        return {
            name: Upstream(stage=None, makes="model", default=given, key=f"stage.models.{name}")
            for name, given in cfg.stage.models.items()
        }
    if cfg.stage.of is not None or "model" in cfg.inputs:
        return {"model": Upstream(stage=cfg.stage.of or "pretrain", makes="model", key="stage.of")}
    if not cfg.ladder.rungs:
        raise AlborError(
            "the ladder has no rungs to serve",
            "choose one (ladder=demo), a stage (stage.of=pretrain), or a model (inputs.model=RUN)",
            code="E-CHOICE",
        )
    said = cfg.ladder.overrides
    return {
        rung: Upstream(stage=stage, makes="model", target=said, key=f"ladder.rungs.{rung}")
        for rung, stage in cfg.ladder.rungs.items()
    }


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """The packages, the key, and somewhere to listen. Raises AlborError."""
    missing = ", ".join(name for name in LIBRARIES if find_spec(name) is None)
    if missing:
        raise refusal(f"serving needs packages that are not installed: {missing}", "pip install 'albor[serve]'")
    wanted, names = cfg.stage, list(inputs(cfg))
    if wanted.default is not None and wanted.default not in names:
        cause = f"stage.default={wanted.default} is not served: {', '.join(names)}"
        raise refusal(cause, f"name one: stage.default={names[-1]}")
    if wanted.key_env is not None and not os.environ.get(wanted.key_env):
        raise refusal(
            f"the environment variable {wanted.key_env} with the API key is not set", f"export {wanted.key_env}=…"
        )
    from albor.runs.ports import listen

    listen(wanted.host, wanted.port).close()


def refusal(cause: str, fix: str) -> AlborError:
    return AlborError(cause, fix, code="E-SERVE")


def run(cfg: Whole, context: Context) -> Facts:
    from albor.serve.server import serve

    return serve(cfg.stage, {name: (given.path, given.id) for name, given in context.inputs.items()})


STAGE = Stage(
    name="serve",
    version=1,
    makes="service",
    config=Serve,
    reads=("ladder",),
    label=lambda cfg: "-".join(cfg.stage.models) or cfg.stage.of or cfg.ladder.name,
    inputs=inputs,
    requires=requires,
    run=run,
    instead="model",
    action=True,
)
