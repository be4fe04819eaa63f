"""The perplexity of rows, and of a model that has none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from albor.data.rows import Rows, write
from albor.errors import AlborError
from albor.evals.perplexity import losses, perplexity
from albor.inference.engine import Score
from albor.inference.torch_engine import TorchEngine
from albor.models.decoder import Decoder
from tests.training.toy import MODEL


@pytest.fixture
def measure(tmp_path: Path) -> Callable[[float], dict[str, Any]]:
    """The perplexity of a toy decoder whose last norm has been set to a number."""
    row = (np.arange(16, dtype=np.uint16), np.array([16], dtype=np.int32))
    write(tmp_path / "val.parquet", [row], row_len=16, token_bytes=2)

    def run(norm: float) -> dict[str, Any]:
        torch.manual_seed(0)
        decoder = Decoder(MODEL)
        with torch.no_grad():
            decoder.model.norm.weight.fill_(norm)
        rows = Rows([tmp_path / "val.parquet"])
        return perplexity(losses(TorchEngine(decoder), rows, limit=None), bytes_per_token=2.0)

    return run


def test_a_model_that_knows_nothing_has_the_vocabulary_s(measure: Callable[[float], dict[str, Any]]) -> None:
    found = measure(1.0)
    assert found["val_ppl"] == pytest.approx(61, rel=0.1) and found["val_tokens"] == 15
    assert found["val_byte_ppl"] == pytest.approx(math.exp(found["val_loss"] / 2))


@pytest.mark.parametrize("norm", [1e6, math.nan])
def test_a_model_that_has_diverged_is_said_to(norm: float, measure: Callable[[float], dict[str, Any]]) -> None:
    with pytest.raises(AlborError, match="the model has diverged"):
        measure(norm)


def test_every_row_has_a_loss_of_its_own_and_tokens_weigh_alike(tmp_path: Path) -> None:
    packed = [(np.arange(16, dtype=np.uint16), np.array([end], dtype=np.int32)) for end in (16, 9, 16)]
    write(tmp_path / "val.parquet", packed, row_len=16, token_bytes=2)
    engine, rows, seen = TorchEngine(Decoder(MODEL)), Rows([tmp_path / "val.parquet"]), []
    scores = losses(engine, rows, limit=None, progress=lambda done, total: seen.append((done, total)))
    assert [score.count for score in scores] == [15, 8, 15] and seen == [(3, 3)]
    assert scores[0].nll == pytest.approx(scores[2].nll) and len(losses(engine, rows, limit=2)) == 2
    found = perplexity([Score(2.0, 1), Score(4.0, 3)], bytes_per_token=None)
    assert found == {"val_loss": 1.5, "val_ppl": math.exp(1.5), "val_tokens": 4, "val_rows": 2}
