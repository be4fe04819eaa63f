"""One training step of albor and of others, on the same batches: what the training benches have in common.

    python -m bench.training_step NAME STEPS OVERRIDE…

trains the subject NAME (albor, litgpt, transformers) as the overrides of `stage=pretrain` say, on the rows of that run,
and prints one JSON object. The others have the same shape, float32 weights with autocast, and fused AdamW.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from albor.config.compose import Composer
from albor.config.schema.config import Config
from albor.config.schema.model import Model
from albor.data.loader import Batches
from albor.data.parquet import shards
from albor.data.rows import Rows
from albor.models.decoder import Decoder
from albor.plan.nodes import Node, Planner
from albor.plan.resolver import Resolver
from albor.runs.store import ARTIFACT
from albor.training import optimizers
from albor.training.base import attention
from albor.training.run import DTYPES
from albor.training.stepper import Stepper

IGNORED = -100
Batch = tuple[Tensor, Tensor]
"""Tokens and labels, each [micro_batch, seq_len]."""
Step = Callable[[Tensor, Tensor], Tensor]
"""Trains on a micro-batch; gives its mean loss."""


@dataclass(frozen=True)
class Subject:
    step: Step
    parameters: int


def plan(overrides: list[str]) -> Node:
    """The pretrain run that the overrides mean."""
    return Planner(Resolver(Composer([]))).plan(("stage=pretrain", *overrides)).target


def batches(target: Node, count: int, device: torch.device) -> list[Batch]:
    """The first ``count`` micro-batches of a run whose rows are built, on the device."""
    rows, config = target.inputs["rows"], target.config
    assert isinstance(rows, Node)
    loader = Batches(
        Rows(shards(rows.directory / ARTIFACT, "train")),
        batch_size=config.trainer.micro_batch_size,
        seq_len=config.data.seq_len,
        seed=config.seed,
    )

    def endless() -> Iterator[Batch]:
        while True:
            for tokens, labels in loader:
                yield torch.from_numpy(tokens).to(device), torch.from_numpy(labels).to(device)

    return [batch for batch, _ in zip(endless(), range(count), strict=False)]


def albor(config: Config, device: torch.device) -> Subject:
    """albor's module, optimizer, clipping and kernels in a bare loop: what is missing is Lightning and the records."""
    trainer = config.trainer
    decoder = Decoder(config.model, DTYPES[trainer.precision]).to(device)
    if trainer.compile:
        decoder.compile_regions()
    stepper = Stepper(
        decoder,
        config.optim,
        optimizers.build(decoder, config.optim, compile=trainer.compile),
        device,
        fp8_tokens=trainer.micro_batch_size * config.data.seq_len if trainer.precision == "fp8" else None,
    )

    def step(tokens: Tensor, labels: Tensor) -> Tensor:
        with attention(device, trainer):
            loss = decoder.loss_sum(tokens, labels) / (labels != IGNORED).sum()
            loss.backward()
        stepper.observe()
        stepper.step(loss, 1.0)
        return loss.detach()

    return Subject(step, count(decoder))


def transformers(config: Config, device: torch.device) -> Subject:
    """transformers' LlamaForCausalLM."""
    from transformers import LlamaConfig, LlamaForCausalLM

    m = config.model
    module = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=m.hidden_size,
            num_hidden_layers=m.num_hidden_layers,
            num_attention_heads=m.num_attention_heads,
            num_key_value_heads=m.num_key_value_heads,
            intermediate_size=m.intermediate_size,
            vocab_size=m.vocab_size,
            max_position_embeddings=m.max_position_embeddings,
            rms_norm_eps=m.rms_norm_eps,
            tie_word_embeddings=True,
            use_cache=False,
            attn_implementation="sdpa",
        )
    ).to(device)
    return other(module, lambda tokens: module(input_ids=tokens).logits, config, device)


def litgpt(config: Config, device: torch.device) -> Subject:
    """litgpt's model file."""
    theirs = litgpt_model()
    m = config.model
    module = theirs.GPT(
        theirs.Config(
            block_size=config.data.seq_len,
            n_layer=m.num_hidden_layers,
            n_embd=m.hidden_size,
            n_head=m.num_attention_heads,
            n_query_groups=m.num_key_value_heads,
            intermediate_size=m.intermediate_size,
            vocab_size=m.vocab_size,
            padded_vocab_size=m.vocab_size,
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
            norm_eps=m.rms_norm_eps,
            mlp_class_name="LLaMAMLP",
        )
    )
    module.apply(module._init_weights)
    module.lm_head.weight = module.transformer.wte.weight
    module.to(device)
    return other(module, module, config, device)


def litgpt_model() -> Any:
    """``litgpt.model`` without litgpt's package, which would import its command line and all that it needs."""
    found = importlib.util.find_spec("litgpt")
    if found is None or found.submodule_search_locations is None:
        sys.exit("litgpt is not installed: pip install --no-deps litgpt psutil")
    package = types.ModuleType("litgpt")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["litgpt"] = package
    return importlib.import_module("litgpt.model")


def other(module: nn.Module, logits: Callable[[Tensor], Tensor], config: Config, device: torch.device) -> Subject:
    """A module in the plainest loop that is fast: the loss is compiled with it."""
    trainer = config.trainer
    stepper = torch.optim.AdamW(
        module.parameters(), lr=config.optim.lr, betas=config.optim.betas, weight_decay=config.optim.weight_decay,
        fused=True,
    )  # fmt: skip

    def mean_loss(tokens: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits(tokens).flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    compiled = torch.compile(mean_loss, dynamic=False) if trainer.compile else mean_loss

    def cast() -> AbstractContextManager[Any]:
        return nullcontext() if trainer.precision == "float32" else torch.autocast(device.type, torch.bfloat16)

    def step(tokens: Tensor, labels: Tensor) -> Tensor:
        with cast():
            loss = compiled(tokens, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), config.optim.clip_norm)
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        return loss.detach()

    return Subject(step, count(module))


SUBJECTS: dict[str, Callable[[Config, torch.device], Subject]] = {
    "albor": albor,
    "litgpt": litgpt,
    "transformers": transformers,
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def seconds_per_step(step: Step, given: list[Batch], device: torch.device) -> tuple[list[float], float]:
    """The time from each step's end to the next one's, on the device's own clock where it has one; the last loss.

    The host does not wait between steps, as a training loop does not.
    """
    loss = torch.zeros(())
    if device.type != "cuda":
        times = [time.perf_counter()]
        for batch in given:
            loss = step(*batch)
            times.append(time.perf_counter())
        return [after - before for before, after in pairwise(times)], float(loss)
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(len(given) + 1)]
    ends[0].record()
    for batch, end in zip(given, ends[1:], strict=True):
        loss = step(*batch)
        end.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in pairwise(ends)], float(loss)


def peak_bytes(device: torch.device) -> int:
    """Of the device's tensors, or of the resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    name, steps, *overrides = sys.argv[1:]
    target = plan(overrides)
    device = torch.device(target.config.trainer.accelerator)
    torch.manual_seed(target.config.seed)
    subject = SUBJECTS[name](target.config, device)
    expected: Model = target.config.model
    if subject.parameters != expected.num_parameters:
        sys.exit(f"{name} has {subject.parameters:,} parameters, not {expected.num_parameters:,}")
    taken, loss = seconds_per_step(subject.step, batches(target, int(steps), device), device)
    print(json.dumps({"seconds": taken, "loss": loss, "peak_bytes": peak_bytes(device)}))


if __name__ == "__main__":
    main()
