"""lm-eval through our engine and through its own transformers backend: the same items, the same scores."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from albor.config.schema.model import Model
from albor.config.schema.task import LmEval
from albor.data.tokenizer import Codec, train_bpe
from albor.errors import AlborError
from albor.evals.harness import adapter, measure
from albor.inference.torch_engine import TorchEngine
from albor.models.checkpoint import save_model
from albor.models.decoder import Decoder

pytest.importorskip("lm_eval")
WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "then",
    "it",
    "ran",
    "to",
    "see",
    "what",
    "was",
    "there",
    "for",
    "two",
    "or",
    "three",
    "days",
    "because",
    "of",
    "rain",
]
MODEL = Model(
    name="t", hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=128,
    vocab_size=320, max_position_embeddings=128,
)  # fmt: skip


def sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that are large enough for its choices to differ."""
    place = tmp_path_factory.mktemp("model")
    draw = random.Random(1)
    codec = Codec(train_bpe([sentence(draw, 50) for _ in range(200)], vocab_size=MODEL.vocab_size))
    torch.manual_seed(3)
    weights = {name: 8 * t if t.dim() == 2 else t for name, t in Decoder(MODEL).state_dict().items()}
    save_model(MODEL, weights, place, eos_token_id=codec.eos_id, pad_token_id=codec.pad_id)
    codec.save(place)
    return place


def items(place: Path, task: str, count: int = 30) -> Path:
    """A file in the form that the task's benchmark is published in."""
    draw, path = random.Random(task), place / f"{task}.txt"
    if task == "arc_easy":
        rows = [
            {
                "question": sentence(draw, 9),
                "choices": [sentence(draw, n) for n in (1, 3, 2, 4)],
                "gold": draw.randrange(4),
            }
            for _ in range(count)
        ]
        path = path.with_suffix(".jsonl")
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    elif task == "piqa":
        rows = [{"goal": sentence(draw, 8), "sol1": sentence(draw, 5), "sol2": sentence(draw, 6)} for _ in range(count)]
        path = place / "valid.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        (place / "valid-labels.lst").write_text("".join(f"{draw.randrange(2)}\n" for _ in rows))
    elif task == "hellaswag":
        blocks = [[f"Riding: {sentence(draw, 12)}", str(draw.randrange(4)), *(sentence(draw, 6) for _ in range(4))]
                  for _ in range(count)]  # fmt: skip
        path.write_text("".join(f"{line}\n" for block in blocks for line in block))
    else:
        path = path.with_suffix(".jsonl")
        path.write_text("".join(f"{json.dumps({'text': sentence(draw, 20)})}\n" for _ in range(count)))
    return path


def by_transformers(model: Path, task: str, include: Path) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(model / "tokenizer.json"), eos_token="<|endoftext|>")
    peer = HFLM(pretrained=AutoModelForCausalLM.from_pretrained(model), tokenizer=tokenizer, device="cpu", batch_size=4)
    manager = TaskManager(include_path=str(include), include_defaults=False)
    return dict(simple_evaluate(model=peer, tasks=[f"albor_{task}"], task_manager=manager, log_samples=True))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["arc_easy", "hellaswag", "piqa", "lambada"])
def test_scores_are_those_of_lm_evals_own_backend(
    task: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = LmEval(task=task)  # type: ignore[arg-type]
    engine, codec = TorchEngine.load(model), Codec.load(model)
    path, told = items(tmp_path, task), list[tuple[int, int]]()
    monkeypatch.chdir(tmp_path)  # which is no repository
    ours = measure(
        task, spec, [path], engine, codec, tmp_path / "harness", limit=None, progress=lambda *of: told.append(of)
    )
    assert capfd.readouterr() == ("", "") and told[-1][0] == told[-1][1] >= 30
    peer = by_transformers(model, task, tmp_path / "harness")
    theirs = peer["results"][f"albor_{task}"]
    assert ours["problems"] == 30
    metrics = ("acc", "perplexity") if task == "lambada" else ("acc", "acc_norm")
    for metric in metrics:
        tolerance = 1e-4 * theirs[f"{metric},none"] if metric == "perplexity" else 0.0
        assert abs(ours[metric]["value"] - theirs[f"{metric},none"]) <= tolerance
        assert ours[metric]["low"] <= ours[metric]["value"] <= ours[metric]["high"]
    likelihoods = [float(found[0]) for sample in peer["samples"][f"albor_{task}"] for found in sample["filtered_resps"]]
    assert len(set(likelihoods)) > 20  # a model that finds everything as likely would agree with anything
    asked = [request for sample in peer["samples"][f"albor_{task}"] for request in sample["arguments"]]
    pairs = [(str(request[0]), str(request[1])) for request in asked]
    mine = [value for value, _ in likelihoods_of(engine, codec, pairs)]
    assert max(abs(a - b) for a, b in zip(mine, likelihoods, strict=True)) < 1e-4


def likelihoods_of(engine: TorchEngine, codec: Codec, pairs: list[tuple[str, str]]) -> list[tuple[float, bool]]:
    from lm_eval.api.instance import Instance

    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    return list(adapter(engine, codec).loglikelihood(requests))


def test_items_whose_answers_are_missing_are_refused(model: Path, tmp_path: Path) -> None:
    path = items(tmp_path, "piqa")
    (tmp_path / "valid-labels.lst").unlink()
    with pytest.raises(AlborError, match="answers are not there"):
        measure("piqa", LmEval(task="piqa"), [path], TorchEngine.load(model), Codec.load(model), tmp_path, limit=None)
