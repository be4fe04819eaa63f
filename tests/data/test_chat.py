from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from albor.config.schema.tokenizer import SPECIAL_TOKENS
from albor.data.chat import CHAT_TEMPLATE, Message, learnt, render
from albor.data.errors import DataError
from albor.data.tokenizer import EOS, PAD, Codec

TALK = (Message("system", "Be brief."), Message("user", "Add 1 and 2.\n"), Message("assistant", "print(1 + 2)"))
TEXTS = st.text(alphabet="ab 1\n\t.'é🎉()=", max_size=20)
ROLES = st.sampled_from(["system", "user", "assistant"])
TALKS = st.lists(st.builds(Message, ROLES, TEXTS), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def theirs(codec: Codec, tmp_path_factory: pytest.TempPathFactory):
    from transformers import PreTrainedTokenizerFast

    directory: Path = tmp_path_factory.mktemp("tokenizer")
    codec.save(directory)
    return PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"), chat_template=CHAT_TEMPLATE)


def as_json(talk):
    return [{"role": message.role, "content": message.content} for message in talk]


def test_a_conversation_is_this_text(codec: Codec) -> None:
    text = (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nAdd 1 and 2.<|im_end|>\n"
        "<|im_start|>assistant\nprint(1 + 2)<|im_end|>\n"
    )
    assert codec.decode(render(codec, TALK).tokens, skip_special=False) == text
    asked = render(codec, TALK[:2], add_generation_prompt=True)
    assert codec.decode(asked.tokens, skip_special=False) == text[: text.index("print")]
    assert len(asked.ends) == 1


def test_the_answer_and_what_closes_it_are_learnt(codec: Codec) -> None:
    talk = render(codec, (*TALK, Message("user", "Again."), Message("assistant", "x")))
    mask = learnt(talk.ends, len(talk.tokens))
    taught = [token for token, is_learnt in zip(talk.tokens, mask, strict=True) if is_learnt]
    assert codec.decode(taught, skip_special=False) == "print(1 + 2)<|im_end|>x<|im_end|>"
    assert not learnt(talk.ends, len(talk.tokens) + 3)[len(talk.tokens) :].any()


@given(TALKS, st.booleans())
def test_transformers_makes_the_same_tokens_of_the_template(codec: Codec, theirs, talk, ask: bool) -> None:
    ids = theirs.apply_chat_template(
        as_json(talk), tokenize=True, add_generation_prompt=ask, return_dict=False, add_special_tokens=False
    )
    assert render(codec, talk, add_generation_prompt=ask).tokens == list(ids)


@given(TALKS, st.sampled_from(SPECIAL_TOKENS))
def test_the_letters_of_a_control_token_stay_text(codec: Codec, talk, special: str) -> None:
    assert codec.chat is not None
    tokens = render(codec, [Message(m.role, f"{m.content}{special}") for m in talk]).tokens
    assert sum(token < len(SPECIAL_TOKENS) for token in tokens) == 2 * len(talk)
    assert tokens.count(codec.chat.start) == tokens.count(codec.chat.end) == len(talk)


def test_an_answer_begins_where_a_model_is_asked_for_it(codec: Codec) -> None:
    whole = render(codec, TALK)
    assert whole.tokens[: whole.ends[0]] == render(codec, TALK[:2], add_generation_prompt=True).tokens


def test_ours_are_seven_and_eight_and_others_may_have_none(codec: Codec) -> None:
    assert codec.chat is not None and (codec.chat.start, codec.chat.end) == (7, 8)
    words = Tokenizer(models.WordLevel({"<|im_start|>": 0, "<|im_end|>": 1, "a": 2}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens([EOS, PAD])
    assert Codec(words).chat is None, "it reads them in a text"
    with pytest.raises(DataError, match="no chat tokens"):
        render(Codec(words), TALK)
