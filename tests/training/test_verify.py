import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from albor.config.schema.model import Model
from albor.models.decoder import Decoder
from albor.models.llama_config import config_text
from albor.training.checkpoint import Writer, steps
from albor.training.checkpoint.verify import Check, verify_checkpoint, verify_convergence, verify_model, verify_progress
from albor.training.convergence import convergence, losses

MODEL = Model(name="toy", hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=48, vocab_size=61)  # fmt: skip
CONFIG: dict[str, Any] = {
    "seed": 5,
    "init_from": None,
    "trainer": {"micro_batch_size": 4, "grad_accum": 2, "devices": 1, "nodes": 1, "warmup_steps": 10},
    "data": {"seq_len": 16},
}
STATE = {"step": 3, "tokens": 3 * 128, "loader": {"epoch": 0, "batch": 3}}


def decoder(seed: int, trained_steps: int = 3) -> Decoder:
    torch.manual_seed(seed)
    made = Decoder(MODEL)
    adamw = torch.optim.AdamW(made.parameters(), lr=1e-3)
    tokens = torch.randint(0, 61, (4, 17))
    for _ in range(trained_steps):
        adamw.zero_grad()
        (made.loss_sum(tokens[:, :-1], tokens[:, 1:]) / 64).backward()
        adamw.step()
    return made


def checkpoint(directory: Path, model: Decoder, state: Any = STATE) -> Path:
    config = config_text(MODEL, dtype=torch.float32, eos_token_id=0, pad_token_id=4)
    with Writer(directory, keep_last=2, keep_best=0, files={"config.json": config}) as writer:
        writer.save(model.state_dict(), {"m": torch.ones(3)}, state)
    return steps(directory)[0]


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.text for check in checks if not check.ok}


def test_a_trained_checkpoint_holds_in_every_respect(tmp_path):
    before = torch.get_rng_state()
    found = list(verify_checkpoint(checkpoint(tmp_path, decoder(5)), CONFIG))
    assert failed(found) == {}
    texts = {check.name: check.text for check in found}
    assert list(texts) == ["files", "tensors", "trained", "finite", "layers", "step", "tokens", "loader"]
    assert "29 of 29" in texts["tensors"] and f"{MODEL.num_parameters:,} parameters" in texts["tensors"]
    assert "all 29 tensors differ from seed 5" in texts["trained"] and texts["tokens"] == "384"
    assert "21 matrices in 3 layers" in texts["layers"] and '"batch": 3' in texts["loader"]
    assert not torch.equal(before, torch.get_rng_state())  # made by decoder(), and
    after = torch.get_rng_state()
    list(verify_checkpoint(steps(tmp_path)[0], CONFIG))
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize(
    ("seed", "config", "text"),
    [
        (5, CONFIG, "29 of 29 tensors are as seed 5 initialises them"),
        (6, CONFIG, "0 of 29 tensors have another mean or spread"),
        (6, {**CONFIG, "init_from": "elsewhere"}, "0 of 29 tensors have another mean or spread"),
        (6, {}, "0 of 29 tensors have another mean or spread"),
    ],
)
def test_an_initialisation_is_not_taken_for_a_trained_model(tmp_path, seed, config, text):
    path = checkpoint(tmp_path, decoder(seed, trained_steps=0))
    found = failed(list(verify_checkpoint(path, config)))
    if seed == 5 or not config or config["init_from"]:
        assert found.keys() == {"trained"} and text in found["trained"]
    else:  # the norms are ones with every seed
        assert "7 of 29 tensors are as seed 5 initialises them" in found["trained"]
    assert failed(list(verify_checkpoint(checkpoint(tmp_path, decoder(seed, 1)), config))) == {}


def test_one_matrix_that_was_not_trained_is_seen(tmp_path):
    model, start = decoder(5), decoder(5, trained_steps=0)
    model.load_state_dict({**model.state_dict(), "model.embed_tokens.weight": start.model.embed_tokens.weight})
    found = failed(list(verify_checkpoint(checkpoint(tmp_path, model), CONFIG)))
    assert found == {"trained": "1 of 29 tensors are as seed 5 initialises them"}


def test_damaged_files_are_all_named_and_nothing_else_is_said(tmp_path):
    path = checkpoint(tmp_path, decoder(5))
    (path / "state.json").write_text("{}")
    (path / "config.json").unlink()
    (check,) = verify_checkpoint(path, CONFIG)
    assert not check.ok and "state.json differs" in check.text and "config.json: No such file" in check.text
    (path / "checkpoint.json").write_text("{}")
    (check,) = verify_checkpoint(path, CONFIG)
    assert not check.ok and check.text == "checkpoint.json cannot be read"


@pytest.mark.parametrize(
    ("state", "name", "text"),
    [
        ({**STATE, "tokens": 100}, "tokens", "100 instead of 384"),
        ({"step": 3, "loader": 1}, "tokens", "None instead of 384"),
        ({**STATE, "loader": None}, "loader", "no position"),
    ],
)
def test_a_state_that_cannot_be_resumed_from_is_seen(tmp_path, state, name, text):
    found = failed(list(verify_checkpoint(checkpoint(tmp_path, decoder(5), state), CONFIG)))
    assert found.keys() == {name} and text in found[name]


def test_a_checkpoint_under_another_steps_name_is_seen_but_a_copy_may_have_any(tmp_path):
    path = checkpoint(tmp_path, decoder(5))
    shutil.copytree(path, tmp_path / "mine")
    assert failed(list(verify_checkpoint(tmp_path / "mine", CONFIG))) == {}
    path.rename(tmp_path / "step-00000009")
    assert failed(list(verify_checkpoint(tmp_path / "step-00000009", CONFIG))).keys() == {"step"}


def set_first_value(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"][0] = torch.nan


def copy_layer(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.2.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].clone()


def drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["model.layers.1.mlp.up_proj.weight"]


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = torch.ones(31)


@pytest.mark.parametrize(
    ("change", "name", "text"),
    [
        (set_first_value, "finite", "1 of 41,248 values are not, the first in model.norm.weight"),
        (copy_layer, "layers", "mlp.up_proj.weight of layer 2 equals that of layer 0"),
        (drop, "tensors", "1 of 29 are not those of config.json: model.layers.1.mlp.up_proj.weight is missing"),
        (reshape, "tensors", "model.norm.weight is [31] instead of [32]"),
    ],
)
def test_tensors_that_are_wrong_are_named(tmp_path, change, name, text):
    path = checkpoint(tmp_path, decoder(5))
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    found = failed(list(verify_model(path, CONFIG, {})))
    assert text.replace("41,248", f"{MODEL.num_parameters:,}") in found[name]
    assert found.keys() <= {name, "trained"}


# --- convergence ---


def series(values) -> list[tuple[int, float]]:
    return list(enumerate(np.asarray(values).tolist(), start=1))


def verdicts(values, warmup_steps: int = 10) -> list[bool]:
    return [ok for ok, _ in convergence(series(values), warmup_steps)]


NOISE = np.random.default_rng(0).normal(0, 0.1, 100_000)


@pytest.mark.parametrize("count", [2, 12, 100, 3_000, 100_000])
def test_a_run_that_learns_converges_however_long_it_is(count):
    assert all(verdicts(3 + 7 / (1 + np.arange(count) / (count / 30)) + NOISE[:count], warmup_steps=1))


def test_the_trend_of_a_few_losses_is_skipped():
    values = 6 - np.arange(10) / 1000 + np.where(np.arange(10) % 3, 0.1, 0.0)
    found = list(convergence(series([6.2, *values[1:]]), 10))
    assert found[1] == (True, "skipped: 10 losses, fewer than 100")


def test_a_run_that_does_not_learn_fails():
    assert verdicts(4 + np.arange(500) / 1000 + NOISE[:500])[:2] == [False, False]
    saw = 5 - np.arange(1000) / 1000 + np.where(np.arange(1000) // 50 % 2, 0.9, 0.0)
    ok, text = list(convergence(series(saw), 10))[1]
    assert ok is False and text.endswith("must be below 0.3")


def test_a_spike_fails_after_the_warmup_only():
    values = np.linspace(6, 4, 200)
    values[150] += 2.5
    found = list(convergence(series(values), 10))
    assert [ok for ok, _ in found] == [True, True, False] and "step 151" in found[2][1]
    assert all(verdicts(values, warmup_steps=151))


def test_losses_are_read_from_a_log_that_was_torn_and_resumed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": 0, "val_loss": 9.0},
        {"step": 1, "loss": 5.0},
        {"step": 2, "loss": 4.0},
        {"step": 3, "loss": None},
    ]
    path.write_text("\n".join([*map(json.dumps, lines), '{"step": 4, "lo', '{"step": 2, "loss": 3.5}', "7"]) + "\n")
    assert losses(path) == [(1, 5.0), (2, 3.5)]


def test_a_log_is_judged_by_its_losses_once_there_are_two(tmp_path):
    path, config = tmp_path / "metrics.jsonl", {"trainer": {"warmup_steps": 10}}
    path.write_text(json.dumps({"step": 1, "loss": 9.0}) + "\n")
    assert list(verify_convergence(path, config)) == []
    spiked = np.linspace(6, 4, 200)
    spiked[150] += 2.5
    path.write_text("".join(json.dumps({"step": n, "loss": loss}) + "\n" for n, loss in enumerate(spiked, start=1)))
    found = list(verify_convergence(path, config))
    assert [(check.name, check.ok) for check in found] == [("learned", True), ("trend", True), ("spikes", False)]


def test_a_state_that_says_no_tokens_is_told_where_no_config_does(tmp_path: Path) -> None:
    checks = {check.name: check for check in verify_progress(tmp_path, {"step": 3, "loader": None}, {})}
    assert not checks["tokens"].ok and checks["tokens"].text == "not said"
