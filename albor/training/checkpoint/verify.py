"""Whether a checkpoint or a finished model is what it says it is: bytes, tensors, and that it was trained at all."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from albor.config.schema.model import Model
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from albor.models.llama_config import read_config
from albor.runs.checkpoints import MODEL, OPTIMIZER, STATE, step_of
from albor.runs.files import sha256_file
from albor.runs.manifest import FileRef
from albor.training.checkpoint.format import Damaged, read_index
from albor.training.convergence import convergence, losses

DEVIATIONS = 5.0
"""Standard errors within which the mean and the spread of a tensor count as those of an initialisation."""
LAYERS = "model.layers."


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    text: str
    """What was found, with its number."""


def verify_checkpoint(path: Path, config: Mapping[str, Any]) -> Iterator[Check]:
    """The checks of a training checkpoint. ``config`` is the resolved config of its run, empty when not known."""
    try:
        _, files = read_index(path)
    except Damaged as error:
        yield Check("files", False, error.damage)
        return
    whole = verify_files(path, files)
    yield whole
    if not whole.ok:
        return  # what the other bytes say means nothing
    yield from verify_model(path, config, load_file(path / OPTIMIZER))
    yield from verify_progress(path, json.loads((path / STATE).read_text(encoding="utf-8")), config)


def verify_files(directory: Path, files: Mapping[str, FileRef]) -> Check:
    """Whether every file has the hash that it was written with."""
    bad = []
    for name, ref in files.items():
        try:
            if sha256_file(directory / name) != ref.sha256:
                bad.append(f"{name} differs from its hash")
        except OSError as error:
            bad.append(f"{name}: {error.strerror}")
    size = sum(ref.bytes for ref in files.values())
    return Check("files", not bad, "; ".join(bad) or f"{len(files)} files, {size:,} bytes, with the hashes written")


def verify_model(directory: Path, config: Mapping[str, Any], optimizer: Mapping[str, Tensor]) -> Iterator[Check]:
    """The checks of a model directory: tensors, finite, trained, layers."""
    tensors = load_file(directory / MODEL)
    try:
        model = read_config(directory)
    except ModelError as error:
        yield Check("tensors", False, str(error))
    else:
        complete = verify_shapes(tensors, model)
        yield complete
        if complete.ok:
            yield verify_trained(tensors, model, config)
    yield verify_finite({**tensors, **optimizer})
    yield verify_layers(tensors)


def verify_shapes(tensors: Mapping[str, Tensor], model: Model) -> Check:
    """Whether the tensors are those that config.json describes."""
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in Decoder(model).state_dict().items()}
    missing = [f"{name} is missing" for name in wanted.keys() - tensors.keys()]
    unknown = [f"{name} is unknown" for name in tensors.keys() - wanted.keys()]
    other = [
        f"{name} is {list(tensors[name].shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if wrong := sorted(missing + unknown + other):
        return Check("tensors", False, f"{len(wrong)} of {len(wanted)} are not those of config.json: {wrong[0]}")
    count = sum(tensor.numel() for tensor in tensors.values())
    return Check("tensors", True, f"{len(wanted)} of {len(wanted)}, {count:,} parameters, as config.json describes")


def verify_finite(tensors: Mapping[str, Tensor]) -> Check:
    count = sum(tensor.numel() for tensor in tensors.values())
    bad = {name: n for name, tensor in tensors.items() if (n := int((~tensor.isfinite()).sum()))}
    if bad:
        text = f"{sum(bad.values()):,} of {count:,} values are not, the first in {next(iter(bad))}"
        return Check("finite", False, text)
    return Check("finite", True, f"all {count:,} values")


def verify_trained(tensors: Mapping[str, Tensor], model: Model, config: Mapping[str, Any]) -> Check:
    """Whether the weights are no longer those of an initialisation.

    With the run's seed they are compared with the decoder that it initialises, bit by bit. In any case their means and
    spreads are compared with an initialisation's: one drawn with another seed lies within a few standard errors.
    """
    seed = None if config.get("init_from") else config.get("seed")
    start = initial(model, seed or 0)
    same = [name for name, tensor in tensors.items() if torch.equal(tensor, start[name])]
    moved = sum(not alike(tensor, start[name]) for name, tensor in tensors.items())
    spread = f"{moved} of {len(tensors)} tensors have another mean or spread than an initialisation"
    if seed is None:
        return Check("trained", moved > 0, spread)
    if same:
        return Check("trained", False, f"{len(same)} of {len(tensors)} tensors are as seed {seed} initialises them")
    away = torch.stack([(tensor - start[name]).norm() for name, tensor in tensors.items()]).norm()
    share = away / torch.stack([tensor.norm() for tensor in start.values()]).norm()
    text = f"all {len(tensors)} tensors differ from seed {seed}'s initialisation, by {share:.1%} of its norm; {spread}"
    return Check("trained", moved > 0, text)


def initial(model: Model, seed: int) -> dict[str, Tensor]:
    """The weights that ``seed`` initialises on the CPU; the random state of the process stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Decoder(model).state_dict()


def alike(tensor: Tensor, start: Tensor) -> bool:
    """Whether mean and standard deviation could be those of another draw from the distribution of ``start``."""
    error = DEVIATIONS * start.std(correction=0) / start.numel() ** 0.5
    spread = (tensor.std(correction=0) - start.std(correction=0)).abs() <= error
    centre = (tensor.mean() - start.mean()).abs() <= error * 2**0.5
    return bool(spread & centre)


def verify_layers(tensors: Mapping[str, Tensor]) -> Check:
    """Whether no two layers share a matrix."""
    matrices = {name: tensor for name, tensor in tensors.items() if name.startswith(LAYERS) and tensor.dim() >= 2}
    seen: dict[tuple[str, bytes], str] = {}
    for name, tensor in matrices.items():
        layer, _, kind = name.removeprefix(LAYERS).partition(".")
        key = (kind, hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().data).digest())
        if key in seen:
            return Check("layers", False, f"{kind} of layer {layer} equals that of layer {seen[key]}")
        seen[key] = layer
    layers = len(set(seen.values()))
    return Check("layers", bool(matrices), f"{len(matrices)} matrices in {layers} layers, all distinct")


def verify_progress(path: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Check]:
    """How far training had come: step, tokens, and the position in the data."""
    step, tokens, loader = state["step"], state.get("tokens"), state.get("loader")
    named = step_of(path)
    right = named in (None, step)  # a copy may have another name
    yield Check("step", right, f"{step:,}" if right else f"{step:,}, in a directory that says {named:,}")
    expected = step * tokens_per_step(config) if config else tokens
    right = tokens is not None and tokens == expected
    wrong = "not said" if expected is None else f"{tokens} instead of {expected:,}"
    yield Check("tokens", right, f"{tokens:,}" if right else wrong)
    position = json.dumps(loader) if loader is not None else "no position in the data"
    yield Check("loader", loader is not None or step == 0, textwrap.shorten(position, 100, placeholder=" …"))


def tokens_per_step(config: Mapping[str, Any]) -> int:
    trainer = config["trainer"]
    rows = trainer["micro_batch_size"] * trainer["grad_accum"] * trainer["devices"] * trainer["nodes"]
    return int(rows * config["data"]["seq_len"])


def verify_convergence(metrics: Path, config: Mapping[str, Any]) -> Iterator[Check]:
    """The convergence criteria, when at least two losses were logged."""
    series = losses(metrics)
    if len(series) >= 2:
        for name, (ok, text) in zip(
            ("learned", "trend", "spikes"), convergence(series, config["trainer"]["warmup_steps"]), strict=False
        ):
            yield Check(name, ok, text)
