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
from albor.evals.perplexity import perplexity
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
        return perplexity(TorchEngine(decoder), rows, limit=None, bytes_per_token=2.0)

    return run


def test_a_model_that_knows_nothing_has_the_vocabulary_s(measure: Callable[[float], dict[str, Any]]) -> None:
    found = measure(1.0)
    assert found["val_ppl"] == pytest.approx(61, rel=0.1) and found["val_tokens"] == 15
    assert found["val_byte_ppl"] == pytest.approx(math.exp(found["val_loss"] / 2))


@pytest.mark.parametrize("norm", [1e6, math.nan])
def test_a_model_that_has_diverged_is_said_to(norm: float, measure: Callable[[float], dict[str, Any]]) -> None:
    with pytest.raises(AlborError, match="the model has diverged"):
        measure(norm)
