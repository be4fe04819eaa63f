from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.chat import Conversation, Message, render
from albor.data.errors import DataError
from albor.data.instruction_rows import InstructionRows, example, held_out, pack
from albor.data.loader import IGNORE, Batches, sequential
from albor.data.parquet import shards
from albor.data.rows import Rows
from albor.data.tokenizer import Codec

ROW = 96


def talk(number: int) -> Conversation:
    """Between one and three answers of different lengths."""
    turns = [
        (Message("user", f"Ask {number}.{turn}"), Message("assistant", f"answer = {number}\n" * (number % 7 + 1)))
        for turn in range(number % 3 + 1)
    ]
    return tuple(message for turn in turns for message in turn)


def packed(codec: Codec, out: Path, talks: Sequence[Conversation], **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"row_len": ROW, "val": 0.2, "seed": 1, "out": out}
    return pack(talks, codec, **{**given, **changes})


@pytest.fixture(scope="module")
def made(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("rows")
    return out, packed(codec, out, [talk(number) for number in range(60)])


def fits(codec: Codec, number: int) -> bool:
    return len(example(codec, talk(number)).tokens) <= ROW


def test_every_conversation_that_fits_is_whole_in_one_row(codec: Codec, made) -> None:
    out, facts = made
    wanted = Counter(tuple(example(codec, talk(n)).tokens.tolist()) for n in range(60) if fits(codec, n))
    found: Counter[tuple[int, ...]] = Counter()
    for split in ("train", "val"):
        rows = InstructionRows(shards(out, split))
        for tokens, ends in zip(*rows.read(np.arange(len(rows))), strict=True):
            assert len(ends) % 2 == 1 and (tokens[ends[-1] :] == codec.pad_id).all()
            filled = tokens[: ends[-1]].tolist()
            stops = [0, *(i + 1 for i, token in enumerate(filled) if token == codec.eos_id)]
            assert stops[-1] == len(filled)
            found.update(tuple(filled[a:b]) for a, b in pairwise(stops))
    assert found == wanted
    assert facts["examples"] + facts["val_examples"] == wanted.total() == 60 - facts["too_long"]
    assert facts["too_long"] > 0 and facts["val_examples"] > 0 and facts["fill"] > 0.7


def test_targets_are_the_answers_and_what_closes_them(codec: Codec, made) -> None:
    assert codec.chat is not None
    out, facts = made
    rows, learnt = InstructionRows(shards(out, "val")), 0
    answers: Counter[str] = Counter()
    for tokens, labels in sequential(rows, batch_size=4, seq_len=ROW):
        learnt += int((labels != IGNORE).sum())
        assert (labels[:, :-1] == np.where(labels[:, :-1] == IGNORE, IGNORE, tokens[:, 1:])).all()
        for line in labels:
            text = codec.decode(line[line != IGNORE].tolist(), skip_special=False)
            answers.update(text.split("<|im_end|>")[:-1])
    assert learnt == facts["val_learnt_tokens"]
    assert sum(len(text.encode()) * n for text, n in answers.items()) == facts["val_bytes"]
    assert all(text.startswith("answer = ") for text in answers)


def test_the_loader_shuffles_and_resumes_them_as_any_rows(codec: Codec, made) -> None:
    rows = InstructionRows(shards(made[0], "train"))
    first = Batches(rows, batch_size=4, seq_len=ROW, seed=3)
    epoch = list(first)
    second = Batches(rows, batch_size=4, seq_len=ROW, seed=3, rank=1, world_size=2)
    second.load_state_dict({**first.state_dict(), "batches": 1})
    for (_, whole), (_, mine) in zip(epoch[1:], second, strict=True):
        np.testing.assert_array_equal(whole[2:], mine)


def test_two_runs_write_the_same_bytes_and_files_are_told_apart(codec: Codec, made, tmp_path: Path) -> None:
    packed(codec, tmp_path, [talk(number) for number in range(60)])
    for split in ("train", "val"):
        assert [p.read_bytes() for p in shards(tmp_path, split)] == [p.read_bytes() for p in shards(made[0], split)]
    with pytest.raises(DataError, match="column doc_ends, segment_ends does not fit"):
        Rows(shards(made[0], "train"))


def test_equal_prompts_stay_together(codec: Codec, tmp_path: Path) -> None:
    ask = Message("user", "Same.")
    same = [(ask, Message("assistant", f"{n}")) for n in range(20)]
    facts = packed(codec, tmp_path, [*same, talk(1)], val=0.5)
    assert {facts["examples"], facts["val_examples"]} == {20, 1}
    assert packed(codec, tmp_path, same)["val_sequences"] == 0, "never all of them"


def test_conversations_may_be_held_out_by_the_caller(codec: Codec, tmp_path: Path) -> None:
    facts = packed(codec, tmp_path, [talk(1), talk(3)], val=iter([talk(6), talk(8)]))
    fitting = [fits(codec, number) for number in (1, 3, 6, 8)]
    assert (facts["examples"], facts["val_examples"]) == (sum(fitting[:2]), sum(fitting[2:]))
    assert facts["too_long"] == 4 - sum(fitting)


@given(st.lists(st.text(max_size=3), max_size=30), st.floats(0, 1), st.integers(0, 99))
def test_what_is_held_out(asked: list[str], fraction: float, seed: int) -> None:
    held = held_out(asked, fraction, seed=seed)
    prompts = {prompt for prompt, val in zip(asked, held, strict=True) if val}
    assert all(val == (prompt in prompts) for prompt, val in zip(asked, held, strict=True))
    assert len(prompts) >= min(fraction * len(set(asked)), len(set(asked)) - 1)
    assert not asked or len(prompts) < len(set(asked))


def test_nothing_that_fits_is_refused(codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 are longer than data") as refused:
        packed(codec, tmp_path, [talk(1)], row_len=8)
    assert refused.value.help


def test_an_example_counts_its_targets(codec: Codec) -> None:
    made = example(codec, talk(2))
    rendered = render(codec, talk(2))
    assert made.tokens.tolist() == [*rendered.tokens, codec.eos_id]
    assert made.learnt_tokens == sum(b - a for a, b in zip(made.ends[::2], made.ends[1::2], strict=False))
    assert made.asked == "user\nAsk 2.0"
