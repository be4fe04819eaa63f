"""Directories of models in, one out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from albor.config.schema.merge import Dare, Linear, Merge, Slerp, TaskArithmetic, Ties
from albor.models.checkpoint import load_model
from albor.models.errors import ModelError
from albor.models.llama_config import read_eos
from albor.transforms.merge import merge
from albor.transforms.merge_models import merge_models

Make = Callable[..., Path]
METHODS: tuple[Merge, ...] = (Slerp(), Linear(weights=(1, 3)), TaskArithmetic(), Ties(), Dare(), Dare(variant="ties"))


def tensors(directory: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(directory / "model.safetensors")
    return found


def shard(directory: Path) -> None:
    """Splits a directory's weights over two files, as large models of the Hub are."""
    whole = tensors(directory)
    names = sorted(whole)
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: whole[name] for name in names if files[name] == file}, directory / file)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    (directory / "model.safetensors").unlink()


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_every_tensor_is_the_merged_one(directory: Make, tmp_path: Path, method: Merge) -> None:
    models, base = [directory(1), directory(2)], directory(3) if method.needs_base else None
    seen: list[tuple[int, int]] = []
    config = merge_models(method, models, base, tmp_path / "out", seed=7, progress=lambda *at: seen.append(at))
    result, (a, b) = tensors(tmp_path / "out"), (tensors(path) for path in models)
    start = tensors(base) if base else {}
    assert result.keys() == a.keys()
    for name, tensor in result.items():
        assert torch.equal(tensor, merge(method, [a[name], b[name]], start.get(name), name=name, seed=7))
    assert load_model(tmp_path / "out").config == config and read_eos(tmp_path / "out") == {0}
    assert (tmp_path / "out/config.json").read_bytes() == (models[0] / "config.json").read_bytes()
    assert seen[-1] == (config.num_parameters, config.num_parameters) and seen == sorted(seen)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("t", [0, 1])
def test_the_ends_of_the_arc_are_the_inputs_bit_for_bit(directory: Make, tmp_path: Path, t: int, dtype) -> None:
    models = [directory(1, dtype), directory(2, dtype)]
    merge_models(Slerp(t=t), models, None, tmp_path / "out", seed=0)
    for name, tensor in tensors(models[t]).items():
        assert torch.equal(tensors(tmp_path / "out")[name].view(torch.uint8), tensor.view(torch.uint8))
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")


def test_sharded_models_and_those_with_a_copied_head_are_read(directory: Make, tmp_path: Path) -> None:
    models = [directory(1), directory(2)]
    merge_models(Linear(), models, None, tmp_path / "whole", seed=0)
    shard(models[0])
    head = {**tensors(models[1]), "lm_head.weight": tensors(models[1])["model.embed_tokens.weight"].clone()}
    save_file(head, models[1] / "model.safetensors")
    merge_models(Linear(), models, None, tmp_path / "out", seed=0)
    expected = (tmp_path / "whole/model.safetensors").read_bytes()
    assert (tmp_path / "out/model.safetensors").read_bytes() == expected


def test_inputs_of_two_dtypes_are_stored_in_the_wider(directory: Make, tmp_path: Path) -> None:
    merge_models(Linear(), [directory(1, torch.bfloat16), directory(2)], None, tmp_path / "out", seed=0)
    assert {tensor.dtype for tensor in tensors(tmp_path / "out").values()} == {torch.float32}
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "float32"


def test_what_dare_drops_depends_on_the_seed_and_not_on_other_tensors(directory: Make, tmp_path: Path) -> None:
    models, base = [directory(1), directory(2)], directory(3)
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        merge_models(Dare(), models, base, tmp_path / name, seed=seed)
    one, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "again", "other"))
    assert one == again and one != other
    fewer = [directory(seed, num_hidden_layers=2) for seed in (1, 2, 3)]
    for made, whole in zip(fewer, (*models, base), strict=True):
        kept = tensors(made).keys()
        save_file({name: tensor for name, tensor in tensors(whole).items() if name in kept}, made / "model.safetensors")
    merge_models(Dare(), fewer[:2], fewer[2], tmp_path / "fewer", seed=1)
    large = tensors(tmp_path / "one")
    assert all(torch.equal(tensor, large[name]) for name, tensor in tensors(tmp_path / "fewer").items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 128}, "vocab_size 96 and 128"),
        ({"num_hidden_layers": 2, "intermediate_size": 96}, "num_hidden_layers 4 and 2, intermediate_size 128 and 96"),
        ({"rope_theta": 5e5}, "rope_theta 10000.0 and 500000.0"),
        ({"qk_norm": True}, "qk_norm False and True"),
        ({"num_key_value_heads": 4}, "num_key_value_heads 2 and 4"),
    ],
)
def test_another_architecture_is_refused_by_what_differs(directory: Make, tmp_path: Path, changes, message) -> None:
    for method, models, base in (
        (Slerp(), [directory(1), directory(2, **changes)], None),
        (Ties(), [directory(1), directory(2)], directory(3, **changes)),
    ):
        with pytest.raises(ModelError, match=message) as refused:
            merge_models(method, models, base, tmp_path / "out", seed=0)
        assert refused.value.help and not (tmp_path / "out").exists()


def test_weights_that_are_not_those_of_the_config_are_refused(directory: Make, tmp_path: Path) -> None:
    models = [directory(1), directory(2)]
    lacking = tensors(models[1])
    del lacking["model.norm.weight"]
    save_file(lacking, models[1] / "model.safetensors")
    with pytest.raises(ModelError, match="lacks 1 of 38 tensors, the first is"):
        merge_models(Slerp(), models, None, tmp_path / "out", seed=0)


PEAK = """
import resource, sys
from pathlib import Path
from albor.config.schema.merge import Linear
from albor.transforms.merge_models import merge_models
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
merge_models(Linear(), [Path(p) for p in sys.argv[1:3]], None, Path(sys.argv[3]), seed=0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
def test_memory_holds_a_few_tensors_and_not_a_model(directory: Make, tmp_path: Path) -> None:
    shape = {"hidden_size": 512, "num_hidden_layers": 24, "intermediate_size": 2048, "vocab_size": 4096}
    models = [directory(seed, **shape) for seed in (1, 2)]
    size = (models[0] / "model.safetensors").stat().st_size
    words = [sys.executable, "-c", PEAK, *map(str, models), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert int(done.stdout) < size / 4
