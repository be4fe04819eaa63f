"""``albor fit OVERRIDES``: the largest micro-batch for the hardware, and the accumulation for a tokens-per-step."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from albor.cli.arguments import Arguments, bad
from albor.cli.session import planner
from albor.config.schema.config import Config
from albor.config.units import human_bytes, parse_quantity
from albor.contracts.base import Case
from albor.contracts.distillation import beside
from albor.contracts.memory import largest_micro_batch, teacher_bytes, training_bytes
from albor.errors import AlborError
from albor.plan.nodes import Node


def run(arguments: Arguments) -> int:
    plan = planner(arguments).plan(arguments.overrides)
    node: Node | None = next((n for n in reversed(plan.nodes) if n.stage.distributed), None)
    if node is None:
        raise AlborError(f"nothing is trained on the way to {plan.target.stage.name}", "stage=pretrain")
    found = propose(node.case, tokens_per_step(arguments, node.config))
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    cfg = node.config
    print(f"  model     {cfg.model.name}, {cfg.model.num_parameters:,} parameters, {cfg.trainer.precision}, "
          f"sequences of {cfg.data.seq_len:,}")  # fmt: skip
    print(f"  hardware  {cfg.hardware.name}, {human_bytes(cfg.hardware.memory)} × {cfg.trainer.world_size}")
    print(f"  fits      at most {found['largest_micro_batch']} sequences a device")
    print(f"  proposed  {found['tokens_per_step']:,} tokens a step in about {human_bytes(found['memory'])} a device:")
    print(f"\n  {found['overrides']}")
    return 0


def tokens_per_step(arguments: Arguments, cfg: Config) -> int:
    if arguments.tokens_per_step is None:
        return cfg.trainer.sequences_per_step * cfg.data.seq_len
    try:
        return int(parse_quantity(arguments.tokens_per_step, "count"))
    except (ValueError, OverflowError) as error:
        raise bad(f"--tokens-per-step: {error}", None) from None


def propose(case: Case, tokens: int) -> dict[str, Any]:
    """The largest micro-batch that fits and divides the step exactly. Raises AlborError when there is none."""
    cfg = case.cfg
    teacher = teacher_bytes(beside(case), cfg.trainer)
    world, seq_len = cfg.trainer.world_size, cfg.data.seq_len
    most = largest_micro_batch(cfg.model, cfg.trainer, seq_len, cfg.hardware.memory, cfg.optim, teacher=teacher)
    if most < 1:
        cause = f"{cfg.model.name} does not fit {cfg.hardware.name} with one sequence of {seq_len:,} tokens"
        raise AlborError(cause, "a smaller model, a shorter data.seq_len, or hardware with more memory")
    per_device = round(tokens / (world * seq_len))
    if per_device < 1 or per_device * world * seq_len != tokens:
        near = max(1, per_device) * world * seq_len
        cause = f"{tokens:,} tokens are no whole number of {seq_len:,}-token sequences on {world} devices"
        raise AlborError(cause, f"--tokens-per-step {near}")
    micro = max(d for d in range(1, min(most, per_device) + 1) if per_device % d == 0)
    trainer = dataclasses.replace(cfg.trainer, micro_batch_size=micro, grad_accum=per_device // micro)
    return {
        "largest_micro_batch": most,
        "micro_batch_size": micro,
        "grad_accum": per_device // micro,
        "tokens_per_step": tokens,
        "memory": training_bytes(cfg.model, trainer, seq_len, cfg.optim) + teacher,
        "overrides": f"trainer.micro_batch_size={micro} trainer.grad_accum={per_device // micro}",
    }
