"""Completions: what the model is asked, where its answer ends, and what an interruption leaves."""

from __future__ import annotations

import inspect
import json
import random
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from albor.config.schema.model import Model
from albor.config.schema.task import FimExact, HumanEval
from albor.data.errors import DataError
from albor.data.fim import FimIds, assemble
from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec, train_bpe
from albor.errors import AlborError
from albor.evals import journal
from albor.evals.generation import Job, generate
from albor.evals.tasks.base import Problem
from albor.inference.engine import Found, Ids, Likelihood, Request, Sampling, Score, Session, Told, silent
from albor.inference.prompts import NoFim, TextRequest
from albor.inference.text import Answer, EngineWriter
from albor.inference.torch_engine import TorchEngine
from albor.models.decoder import Decoder

CONTEXT = 64
VOCABULARY = 400
MODEL = Model(name="m", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=48, vocab_size=VOCABULARY, max_position_embeddings=CONTEXT,
              initializer_range=0.3)  # fmt: skip
GREEDY, SAMPLED = Sampling(), Sampling(temperature=0.8, top_p=0.9)


@pytest.fixture(scope="module")
def codec() -> Codec:
    texts = [inspect.getsource(module) for module in (json, textwrap)]
    return Codec(train_bpe(texts, vocab_size=VOCABULARY), fim=(PREFIX, SUFFIX, MIDDLE))


@pytest.fixture(scope="module")
def model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(MODEL)


@pytest.fixture(scope="module")
def engine(model: Decoder, codec: Codec) -> TorchEngine:
    return TorchEngine(model, frozenset([codec.eos_id]))


class Parrot:
    """An engine that says what it is told, and keeps what it was asked."""

    context = CONTEXT

    def __init__(self, *ids: int) -> None:
        self.ids = list(ids)
        self.asked: list[Request] = []

    @property
    def warmed_by(self) -> Sequence[int]:
        raise NotImplementedError

    def generate(self, requests: Sequence[Request]) -> Found:
        self.asked += requests
        for index, request in enumerate(requests):
            new: list[int] = []
            for token in self.ids[: request.max_new_tokens]:
                new.append(token)
                if request.stop is not None and len(new) % 8 == 0 and request.stop(new):
                    break
            yield index, new

    def score(self, tokens: Sequence[Ids], labels: Sequence[Ids]) -> list[Score]:
        raise NotImplementedError

    def loglikelihood(self, pairs: Sequence[tuple[Ids, Ids]], progress: Told = silent) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def likelihoods(self, ids: Ids, told: int = 0) -> list[Likelihood]:
        raise NotImplementedError

    def session(self, *, rows: int | None = None, capacity: int | None = None) -> Session:
        raise NotImplementedError


def said(codec: Codec, ids: Sequence[int], *stop: str) -> Answer:
    """The answer when the model says these tokens."""
    ((_, answer),) = EngineWriter(Parrot(*ids), codec).write([TextRequest(prompt="x", stop=stop)])
    return answer


def asked(codec: Codec, request: TextRequest) -> Request:
    """What an engine is asked for it."""
    parrot = Parrot()
    list(EngineWriter(parrot, codec).write([request]))
    (made,) = parrot.asked
    return made


# --- where an answer ends ---


def letters(codec: Codec, text: str) -> list[int]:
    """The text, a token per byte."""
    return [token for letter in text for token in codec.encode(letter)]


def test_an_answer_is_cut_at_the_earliest_stop_string(codec: Codec) -> None:
    text = "a = 1\n    b\nprint(a)\nclass X:\n    pass\ndef f"
    for ids in (codec.encode(text), letters(codec, text)):
        assert said(codec, ids, "\nclass", "\ndef", "\nprint").text == "a = 1\n    b"
        assert said(codec, ids, "\ndef", "\nclass").text == "a = 1\n    b\nprint(a)"
        assert said(codec, ids, "nothing", "print(a)\ncl").text == "a = 1\n    b\n"
        assert said(codec, ids).text == said(codec, ids, "nothing").text == text
        assert said(codec, ids, "a").text == ""


@pytest.mark.parametrize("before", range(20))
def test_a_stop_string_over_many_tokens_ends_generation_wherever_it_lies(codec: Codec, before: int) -> None:
    stop = "\nif __name__"
    ids = letters(codec, "é" + "x" * before + stop + "y" * 100)
    answer = said(codec, ids, stop, "\nZ")
    assert answer.text == "é" + "x" * before
    assert answer.tokens is not None and answer.tokens < len("é".encode()) + before + len(stop) + 8


def test_a_stop_string_can_be_a_control_token(codec: Codec) -> None:
    ids = [*codec.encode("a = 1\n"), 6, *codec.encode("b = 2\n" * 20)]
    assert said(codec, ids, "\nclass", "<|file_sep|>").text == "a = 1\n"
    assert said(codec, ids, "= 2", "<|file_sep|>").text == "a = 1\n"
    assert said(codec, ids, "= 1", "<|file_sep|>").text == "a "
    assert said(codec, ids, "\nclass").text.startswith("a = 1\nb = 2\n")
    assert said(codec, ids, "\nclass", "<|file_sep|>").tokens == 8


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_stopping_early_changes_nothing_before_the_stop(codec: Codec, engine: TorchEngine, sampling: Sampling) -> None:
    writer = EngineWriter(engine, codec)
    free = [TextRequest(prompt=f"def f{i}(", sampling=sampling, seed=i) for i in range(8)]
    whole = [answer for _, answer in sorted(writer.write(free))]
    draw = random.Random(0)
    for _ in range(5):
        stops = []
        for answer in whole:
            place = draw.randrange(max(1, len(answer.text) - 4))
            stops.append((answer.text[place : place + 4] or "?", "\0none"))
        cut = [replace(request, stop=stop) for request, stop in zip(free, stops, strict=True)]
        for index, answer in writer.write(cut):
            assert answer.text == whole[index].text.split(stops[index][0])[0]


# --- how long an answer may be ---


def test_max_length_counts_the_prompt(codec: Codec) -> None:
    prompt = "x = 1\n"
    length = 1 + len(codec.encode(prompt))
    cases = [(40, None, 40 - length), (40, 5, 5), (1000, None, CONTEXT - length), (None, None, CONTEXT - length),
             (None, 7, 7), (length + 1, None, 1)]  # fmt: skip
    for both, new, expected in cases:
        request = TextRequest(prompt=prompt, max_length=both, max_new_tokens=new)
        assert asked(codec, request).max_new_tokens == expected, request
    hole = TextRequest(prompt=prompt, suffix=prompt, max_length=40)
    assert asked(codec, hole).max_new_tokens == 40 - len(asked(codec, hole).prompt)


def test_a_prompt_as_long_as_max_length_gets_an_empty_answer_beside_the_others(codec: Codec) -> None:
    long = TextRequest(prompt="x = 1\n" * 5, max_length=10)
    parrot = Parrot(*codec.encode("y"))
    found = dict(EngineWriter(parrot, codec).write([long, TextRequest(prompt="x"), long]))
    assert [found[i].text for i in range(3)] == ["", "y", ""] and found[0].tokens == 0
    assert len(parrot.asked) == 1


def test_a_prompt_that_does_not_fit_keeps_its_end(codec: Codec) -> None:
    prompt = "".join(f"x{i} = {i}\n" for i in range(60))
    made = asked(codec, TextRequest(prompt=prompt))
    assert made.prompt[0] == codec.eos_id and prompt.endswith(codec.decode(made.prompt[1:]))
    assert len(made.prompt) + made.max_new_tokens == CONTEXT and made.max_new_tokens == CONTEXT // 4
    assert asked(codec, TextRequest(prompt=prompt, max_new_tokens=3)).max_new_tokens == 3
    answers = dict(EngineWriter(Parrot(), codec).write([TextRequest(prompt=p) for p in (prompt, "x")]))
    assert [answers[i].cut_prompt for i in range(2)] == [True, False]


@pytest.mark.parametrize(("before", "after"), [(300, 300), (300, 5), (5, 300), (300, 0), (0, 300), (24, 22)])
@pytest.mark.parametrize("order", ["psm", "spm"])
def test_a_hole_that_does_not_fit_keeps_what_is_around_it(codec: Codec, before: int, after: int, order: str) -> None:
    prefix = "".join(chr(97 + i % 26) for i in range(before))
    suffix = "".join(chr(65 + i % 26) for i in range(after))
    made = asked(codec, TextRequest(prompt=prefix, suffix=suffix, fim="spm" if order == "spm" else "psm"))
    assert len(made.prompt) + made.max_new_tokens == CONTEXT
    first, second = codec.decode(made.prompt, skip_special=False).removeprefix("<|endoftext|>" + PREFIX).split(MIDDLE)
    if order == "psm":
        assert second == ""
        kept, behind = first.split(SUFFIX)
    else:
        kept, behind = second, first.removeprefix(SUFFIX)
    assert prefix.endswith(kept) and suffix.startswith(behind)
    assert len(kept) >= min(before, 20) and len(behind) >= min(after, 20)


# --- holes ---


@pytest.mark.parametrize("spm", [False, True])
def test_a_hole_is_asked_for_as_it_was_learned(codec: Codec, spm: bool) -> None:
    prefix, middle, suffix = "def f(x):\n", "    y = x\n", "    return y\n"
    assert codec.fim is not None
    parts = [codec.encode(part) for part in (prefix, "", suffix)]
    learned = assemble(parts[0], parts[1], parts[2], fim=codec.fim, eos_id=codec.eos_id, spm=spm)
    request = TextRequest(prompt=prefix, suffix=suffix, fim="spm" if spm else "psm")
    assert asked(codec, request).prompt == (codec.eos_id, *learned[:-1])
    answer = said(codec, [*codec.encode(middle)])
    assert answer.text == middle
    assert asked(codec, replace(request, suffix="")).prompt[:2] == (codec.eos_id, codec.fim.prefix)


def test_a_model_without_fim_tokens_fills_no_holes(codec: Codec, engine: TorchEngine, tmp_path: Path) -> None:
    plain = Codec(Tokenizer.from_str(codec.files()["tokenizer.json"]))
    writer = EngineWriter(engine, plain)
    assert len(list(writer.write([TextRequest(prompt="x")]))) == 1
    with pytest.raises(NoFim):
        list(writer.write([TextRequest(prompt="x", suffix="y")]))
    job = Job("holes", FimExact(), [Problem(id="a", prompt="x", suffix="y", answer="z")], 1, ())
    with pytest.raises(AlborError, match="task holes fills holes") as refused:
        generate(job, writer, tmp_path / "a.jsonl", seed=0)
    assert refused.value.code == "E-EVAL"


# --- the same answers however they are computed ---


def requests() -> list[TextRequest]:
    stop = ("\n", "x", "(")
    made = [
        TextRequest(prompt=f"def f{i % 4}(x):\n", seed=i, max_new_tokens=5 + i, stop=stop[: i % 3]) for i in range(12)
    ]
    return [*made, *(replace(r, suffix="\nreturn x", fim="spm" if r.seed % 2 else "psm") for r in made)]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_answers_depend_on_neither_batch_nor_order(model: Decoder, codec: Codec, sampling: Sampling) -> None:
    eos, draw = frozenset([codec.eos_id]), random.Random(0)
    every = [replace(request, sampling=sampling) for request in requests()]
    expected = [next(EngineWriter(TorchEngine(model, eos), codec).write([r]))[1] for r in every]
    assert len({answer.text for answer in expected}) > 6
    for size in (1, 5, 64):
        order = draw.sample(range(len(every)), len(every))
        writer = EngineWriter(TorchEngine(model, eos, batch_size=size), codec)
        found = dict(writer.write([every[i] for i in order]))
        assert {order[place]: answer for place, answer in found.items()} == dict(enumerate(expected))


# --- generate() ---


def job(samples: int = 3) -> Job:
    problems = [Problem(id=f"p/{i}", prompt=f"def f{i}(x):\n", answer="") for i in range(6)]
    problems.append(Problem(id="hole", prompt="def g(x):\n", suffix="\u2028\n", answer=""))
    spec = HumanEval(samples=samples, temperature=0.8, max_length=None, max_new_tokens=12)
    return Job("own", spec, problems, samples, ("\n\n",))


class Killed(Exception):
    pass


def test_records_say_what_was_asked_and_answered(codec: Codec, engine: TorchEngine, tmp_path: Path) -> None:
    path, seen = tmp_path / "work/own.jsonl", list[tuple[int, int]]()
    records = generate(job(), EngineWriter(engine, codec), path, seed=1, progress=lambda *at: seen.append(at))
    assert [(r["problem"], r["sample"]) for r in records] == [(p.id, s) for p in job().problems for s in range(3)]
    assert all(r["prompt"] in [p.prompt for p in job().problems] and 0 <= r["tokens"] <= 12 for r in records)
    assert [r.get("suffix") for r in records][-4:] == [None, "\u2028\n", "\u2028\n", "\u2028\n"]
    assert len({r["completion"] for r in records if r["problem"] == "p/0"}) > 1, "samples differ"
    assert seen == [(done, 21) for done in range(22)]
    again = generate(job(), EngineWriter(engine, codec), tmp_path / "b.jsonl", seed=1)
    assert again == records != generate(job(), EngineWriter(engine, codec), tmp_path / "c.jsonl", seed=2)
    journal.write(tmp_path / "out.jsonl", records)
    assert journal.read(tmp_path / "out.jsonl") == records


@pytest.mark.parametrize("torn", [b"", b'{"problem": "p/3", "sam', b"\x00", '{"problem": "é'.encode()[:-1]])
def test_an_interruption_loses_and_doubles_nothing(
    codec: Codec, engine: TorchEngine, tmp_path: Path, torn: bytes
) -> None:
    writer = EngineWriter(engine, codec)
    expected = generate(job(), writer, tmp_path / "whole.jsonl", seed=1)
    path = tmp_path / "cut.jsonl"
    for stop_at in (4, 5, 13):

        def progress(done: int, total: int, stop_at: int = stop_at) -> None:
            if done == stop_at:
                raise Killed

        with pytest.raises(Killed):
            generate(job(), writer, path, seed=1, progress=progress)
        assert len(journal.read(path)) == stop_at
        with path.open("ab") as file:
            file.write(torn)
    assert generate(job(), writer, path, seed=1) == expected
    kept = journal.read(path)
    assert sorted(map(str, kept)) == sorted(map(str, expected))
    before = path.read_bytes()
    assert generate(job(), EngineWriter(Parrot(), codec), path, seed=1) == expected, "nothing is asked again"
    assert path.read_bytes() == before


def test_more_samples_keep_those_that_are_there(codec: Codec, engine: TorchEngine, tmp_path: Path) -> None:
    writer = EngineWriter(engine, codec)
    few = generate(job(2), writer, tmp_path / "a.jsonl", seed=1)
    many = generate(job(4), writer, tmp_path / "a.jsonl", seed=1)
    assert [r for r in many if r["sample"] < 2] == few and len(many) == 28


# --- tokenizers of models ---


def test_the_codec_of_our_own_directory(codec: Codec, tmp_path: Path) -> None:
    codec.save(tmp_path)
    loaded = Codec.of_model(tmp_path)
    assert (loaded.eos_id, loaded.pad_id, loaded.fim) == (codec.eos_id, codec.pad_id, codec.fim)


def byte_level(*specials: str) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    return tokenizer


@pytest.mark.parametrize("names", ["<fim_{}>", "<fim-{}>", "<|fim_{}|>"])
@pytest.mark.parametrize("several", [False, True])
def test_the_codec_of_a_hugging_face_directory(tmp_path: Path, names: str, several: bool) -> None:
    fim = [names.format(part) for part in ("prefix", "suffix", "middle")]
    byte_level("<pad>", *fim, "</s>").save(str(tmp_path / "tokenizer.json"))
    config = {"model_type": "llama", "eos_token_id": [260, 256] if several else 260}
    (tmp_path / "config.json").write_text(json.dumps(config))
    codec = Codec.of_model(tmp_path)
    assert codec.eos_id == 260 and codec.fim == FimIds(257, 258, 259, 260)
    text = 'def f():\n\treturn "é <fim_prefix>"\r\n'
    assert codec.decode(codec.encode(text)) == text
    ids = asked(codec, TextRequest(prompt="a", suffix="b")).prompt
    assert codec.decode(ids, skip_special=False) == f"</s>{fim[0]}a{fim[1]}b{fim[2]}"


def test_a_directory_without_fim_tokens_or_an_end_of_text(tmp_path: Path) -> None:
    byte_level("</s>", "<fim_prefix>").save(str(tmp_path / "tokenizer.json"))
    for config in (None, "{}", '{"eos_token_id": null}', '{"eos_token_id": 9999}', "[]", '{"eos_token_id": []}'):
        if config is not None:
            (tmp_path / "config.json").write_text(config)
        with pytest.raises(DataError, match="which token ends a text"):
            Codec.of_model(tmp_path)
    (tmp_path / "config.json").write_text('{"eos_token_id": 256}')
    assert Codec.of_model(tmp_path).fim is None
