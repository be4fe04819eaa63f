"""A plain training loop beside albor's, on the same packed rows: what a person writes in an afternoon.

    python -m bench.raw_loop ROWS [--model 350m] [--recipe muon] [--steps 2000] [--batch 16] [--out FILE]

transformers' own model (Qwen3: the layout of ours with QK-norm), torch's own optimizers, ``torch.compile`` and a
``for``; nothing of albor's but the files of ROWS, a run of ``stage=pack``. ``muon`` has the hyperparameters of
``experiment=best``: torch's Muon on the matrices of the blocks, AdamW on the rest, a rate that falls in the last 30%.
``adamw`` is what most begin with: AdamW, cosine, no QK-norm (Llama). A line of JSON for each validation, on the first
rows of the packages that are held out, as it is known.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from albor.runs.environment import describe

SIZES = {"50m": (512, 12, 8, 2, 2048), "125m": (768, 12, 12, 4, 3072), "350m": (1024, 24, 16, 4, 4096)}
"""Hidden size, blocks, heads, key and value heads, channels."""
RATES = {"muon": 1.2e-2, "adamw": 6e-4}
MATRIX_RATE = 1.5e-3
IGNORED = -100


def main() -> None:
    given = arguments()
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text("")
    torch.manual_seed(given.seed)
    torch.set_float32_matmul_precision("high")
    facts = yaml.safe_load((given.rows / "manifest.yaml").read_text())["facts"]
    train, val = (rows(given.rows / "artifact", split, facts["token_bytes"]) for split in ("train", "val"))
    val = val[: given.val_rows]
    model = build(given.model, given.recipe).to(given.device)
    optimizers = build_optimizers(model, given.recipe)
    loss_of = torch.compile(mean_loss) if given.device == "cuda" else mean_loss
    per_token = facts["val_bytes"] / facts["val_tokens"] * math.log(2)
    say(given, about(given, model))
    batches, start, validating = shuffled(train, given), time.perf_counter(), 0.0
    for step in range(given.steps + 1):
        if step % given.val_every == 0 or step == given.steps:
            asked = since(start, given.device)
            loss = validate(model, loss_of, val, given, facts["pad_id"])
            validating += since(start, given.device) - asked
            seen = {"step": step, "tokens": step * given.batch * len(train[0])}
            found = {"val_loss": loss, "val_ppl": math.exp(loss), "val_bits_per_byte": loss / per_token}
            say(given, seen | found | {"seconds": since(start, given.device), "validating": validating})
            if step == given.steps:
                break
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(step + 1, given)
        tokens = torch.from_numpy(next(batches).astype(np.int64)).to(given.device, non_blocking=True)
        with torch.autocast(given.device, torch.bfloat16):
            loss_of(model, tokens, facts["pad_id"]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def since(start: float, device: str) -> float:
    """Seconds, when the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--model", choices=SIZES, default="350m")
    parser.add_argument("--recipe", choices=RATES, default="muon")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--val-rows", type=int, default=512)
    parser.add_argument("--val-every", type=int, default=200)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def rows(directory: Path, split: str, width: int) -> np.ndarray:
    """Tokens [rows, row_len]."""
    files = sorted(directory.glob(f"{split}-*.parquet"))
    columns = [pq.read_table(file, columns=["tokens"])["tokens"].to_pylist() for file in files]
    return np.stack([np.frombuffer(row, f"<u{width}") for column in columns for row in column])


def build(name: str, recipe: str) -> PreTrainedModel:
    """Random weights of one of the sizes."""
    hidden, blocks, heads, kv_heads, channels = SIZES[name]
    layout = {
        "vocab_size": 32_768,
        "hidden_size": hidden,
        "intermediate_size": channels,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": hidden // heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "initializer_range": 0.02,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "tie_word_embeddings": True,
        "use_cache": False,
    }
    if recipe == "muon":
        return Qwen3ForCausalLM(Qwen3Config(**layout))
    return LlamaForCausalLM(LlamaConfig(**layout))


def build_optimizers(model: PreTrainedModel, recipe: str) -> list[torch.optim.Optimizer]:
    inside = [
        p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name and "lm_head" not in name
    ]
    held = {id(p) for p in inside}
    rest = [p for p in model.parameters() if id(p) not in held]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.ndim == 2]},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0},
    ]
    if recipe == "adamw":
        groups[0]["params"] += inside
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=RATES[recipe], betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ]
    if recipe == "muon":
        made.append(torch.optim.Muon(inside, lr=MATRIX_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return made


def rate(step: int, given: argparse.Namespace) -> float:
    """The share of the peak at a step counted from 1."""
    if step < given.warmup:
        return float(step / given.warmup)
    if given.recipe == "muon":  # stays up, and falls to a tenth in the last 30%
        begin = given.steps - int(0.3 * given.steps)
        return float(1.0 - 0.9 * max(0, step - begin) / max(1, given.steps - begin))
    done = (step - given.warmup) / max(1, given.steps - given.warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def mean_loss(model: PreTrainedModel, tokens: Tensor, pad: int) -> Tensor:
    """Of the next tokens of rows [batch, row_len], padding left out."""
    labels = tokens[:, 1:].masked_fill(tokens[:, 1:] == pad, IGNORED)
    logits = model(input_ids=tokens).logits[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def shuffled(train: np.ndarray, given: argparse.Namespace) -> Iterator[np.ndarray]:
    """Batches, epoch after epoch."""
    draw = np.random.default_rng(given.seed)
    while True:
        order = draw.permutation(len(train))
        for first in range(0, len(train) - given.batch + 1, given.batch):
            yield train[order[first : first + given.batch]]


@torch.no_grad()
def validate(
    model: PreTrainedModel, loss_of: Callable[..., Tensor], val: np.ndarray, given: argparse.Namespace, pad: int
) -> float:
    """Mean loss in nats a token."""
    total = count = 0.0
    for first in range(0, len(val), given.batch):
        tokens = torch.from_numpy(val[first : first + given.batch].astype(np.int64)).to(given.device)
        learnt = int((tokens[:, 1:] != pad).sum())
        with torch.autocast(given.device, torch.bfloat16):
            total += float(loss_of(model, tokens, pad)) * learnt
        count += learnt
    return total / count


def about(given: argparse.Namespace, model: PreTrainedModel) -> dict[str, object]:
    """The first line: what this is."""
    environment = describe()
    return {
        "command": "python -m bench.raw_loop " + " ".join(sys.argv[1:]),
        "steps": given.steps,
        "rows": yaml.safe_load((given.rows / "manifest.yaml").read_text())["digest"],
        "parameters": model.num_parameters(),
        "device": torch.cuda.get_device_name() if given.device == "cuda" else given.device,
        "torch": torch.__version__,
        "commit": (environment["git_commit"] or "")[:7] or None,
        "time": time.time(),
    }


def say(given: argparse.Namespace, what: dict[str, object]) -> None:
    line = json.dumps(what)
    print(line, flush=True)
    if given.out:
        with given.out.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
