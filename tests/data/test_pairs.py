from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albor.data.chat import Message, render
from albor.data.errors import DataError
from albor.data.instruction_rows import InstructionRows
from albor.data.loader import IGNORE, Batches, sequential
from albor.data.pairs import Pair, PairRows, pack
from albor.data.parquet import shards
from albor.data.tokenizer import Codec

LENGTH = 64


def pair(number: int) -> Pair:
    return Pair((Message("user", f"Ask {number}."),), f"good = {number}", "bad\n" * (number % 40 + 1))


def test_a_row_is_a_pair(codec: Codec, tmp_path: Path) -> None:
    facts = pack(map(pair, range(60)), codec, seq_len=LENGTH, val_fraction=0.2, seed=1, out=tmp_path)
    assert facts["num_sequences"] + facts["val_sequences"] + facts["too_long"] == 60
    assert facts["too_long"] > 0 and facts["val_sequences"] >= 0.2 * (60 - facts["too_long"])
    rows = PairRows(shards(tmp_path, "train"))
    assert (len(rows), rows.row_len) == (facts["num_sequences"], 2 * LENGTH)
    seen = set()
    for tokens, labels in Batches(rows, batch_size=1, seq_len=2 * LENGTH, seed=0):
        halves = zip(tokens[0].reshape(2, -1), labels[0].reshape(2, -1), strict=True)
        asked = []
        for number, (line, targets) in enumerate(halves):
            taught = codec.decode(targets[targets != IGNORE].tolist(), skip_special=False)
            assert taught.startswith("bad" if number else "good") and taught.endswith("<|im_end|>")
            asked.append(codec.decode(line[: np.argmax(targets != IGNORE) + 1].tolist()))
        assert asked[0] == asked[1]
        seen.add(asked[0])
    assert len(seen) == len(rows)


def test_half_a_row_is_the_chosen_conversation(codec: Codec, tmp_path: Path) -> None:
    pack([pair(3)], codec, seq_len=LENGTH, val_fraction=0.5, seed=1, out=tmp_path)
    ((tokens, labels),) = sequential(PairRows(shards(tmp_path, "train")), batch_size=4, seq_len=LENGTH)
    whole = render(codec, (*pair(3).asked, Message("assistant", pair(3).chosen))).tokens
    assert tokens[0].tolist() == [*whole, codec.eos_id, *[codec.pad_id] * (LENGTH - len(whole) - 1)]
    assert codec.decode(labels[labels != IGNORE].tolist()) == "good = 3"
    with pytest.raises(DataError, match="does not fit"):
        InstructionRows(shards(tmp_path, "train"))


def test_without_a_pair_that_fits_it_is_refused(codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pair to train on: 1 are longer") as refused:
        pack([pair(39)], codec, seq_len=LENGTH, val_fraction=0.2, seed=1, out=tmp_path)
    assert refused.value.help
