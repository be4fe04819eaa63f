import json
import pickle
import random
import sys
import sysconfig
import unicodedata
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from albor.data.tokenizer import Codec
from albor.inference import llama_cpp
from albor.inference.engine import STOP_EVERY, Engine, Request, Sampling
from albor.inference.gguf_engine import GgufEngine
from albor.inference.llama_cpp import LlamaContext, LlamaModel
from albor.inference.torch_engine import TorchEngine
from albor.models import llama_library
from albor.models.checkpoint import load_model
from albor.models.errors import ModelError
from albor.models.gguf import write_gguf
from tests.inference.asking import GREEDY, PROMPTS, SAMPLED, greedily, outputs, requests, sampled, some_requests
from tests.models.gguf_example import example

FEWER_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
SHAPE: dict[str, Any] = {"max_position_embeddings": 40, "initializer_range": 0.3}


def exported(directory: Path, kind: str = "f32", **changes: Any) -> Path:
    example(directory, **changes)
    write_gguf(directory, directory / f"{kind}.gguf", kind=kind)  # type: ignore[arg-type]
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says much different, and its float32 file, which is computed as exactly as by torch."""
    return exported(tmp_path_factory.mktemp("model"), **SHAPE)


@pytest.fixture
def engine(directory: Path) -> Iterator[GgufEngine]:
    with GgufEngine.load(directory, threads=1) as engine:
        yield engine


# --- the same model ---


@torch.no_grad()
@pytest.mark.parametrize(("kind", "bound"), [("f32", 2e-5), ("f16", 0.005), ("bf16", 0.05), ("q8_0", 0.3)])
@pytest.mark.parametrize(
    "changes", [{}, {"qk_norm": True}, {"num_key_value_heads": 1}, {"num_attention_heads": 2}, FEWER_HEADS], ids=str
)
def test_log_probabilities_are_those_of_the_weights(tmp_path, kind, bound, changes):
    model = load_model(exported(tmp_path, kind, **changes))
    ids = torch.randint(16, 512, (250,), generator=torch.Generator().manual_seed(0)).tolist()
    expected = model(torch.tensor([ids]))[0].log_softmax(-1)
    assert expected.max(-1).values.exp().mean() > 0.3, "peaked"
    context = LlamaContext(LlamaModel(tmp_path / f"{kind}.gguf"), 1, 256, threads=1)
    found = torch.from_numpy(context.decode(ids, range(250), [0] * 250, [True] * 250)).log_softmax(-1)
    assert (found - expected).abs().max() < bound


@pytest.mark.parametrize("kind", ["q5_1", "q5_0", "q4_1", "q4_0", "q4_k_m"])
def test_every_kind_runs(tmp_path, kind):
    exported(tmp_path, kind, hidden_size=256, intermediate_size=512)
    rows = [[random.Random(0).randrange(16, 512) for _ in range(100)]]
    labels = [[*rows[0][1:], -100]]
    (found,), (expected,) = (
        engine.score(rows, labels) for engine in (GgufEngine.load(tmp_path), TorchEngine.load(tmp_path))
    )
    assert found.nll != expected.nll and found.nll == pytest.approx(expected.nll, rel=0.1)


# --- the same tokens ---

TEXTS = [
    "", " ", "\n", "\r\n", "\r", "\t\tx", "  1", "1  ", " 1 2\n\n  3", "12345.678e-9", "x²₃ ½ ٣ Ⅷ", "a\x00b\x7f",
    "<|fim_prefix|>", "a<|endoftext|>b", "<|reserved_3|> <|im_start|>user", "it's I'LL 'tis 's's",
    "\u00a0\u2003 x\u3000", "naïve ÅÅ e\u0301 한국어 日本語 العربية", "👩\u200d👩\u200d👧 🇩🇪 \U0010ffff \ufeff",
    "\u200b\u2028\u2029\x85\x1c\x1f", "def f(x):\n\treturn x  \n \n",
    "    " * 40, "a" * 3000, "=" * 999, "\n" * 500, "٠١٢" * 50,
]  # fmt: skip


def files(count: int) -> Iterator[str]:
    """Sources of the standard library."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))[:count]:
        yield path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("digits", [True, False])
def test_llama_cpp_reads_text_as_the_codec_does(tmp_path, digits):
    exported(tmp_path, "q8_0", digits=digits)
    codec, model = Codec.load(tmp_path), LlamaModel(tmp_path / "q8_0.gguf")
    generator = random.Random(0)
    letters = "".join(TEXTS[:-5]) + "abc 123\n"
    texts = [*TEXTS, *("".join(generator.choices(letters, k=200)) for _ in range(200)), *files(12)]
    for text in texts:
        assert model.tokenize(text) == codec.encode(text)


@pytest.mark.slow
def test_a_thousand_files_are_read_alike(directory):
    codec, model = Codec.load(directory), LlamaModel(directory / "f32.gguf")
    read = 0
    for text in files(1200):
        assert model.tokenize(text) == codec.encode(text)
        read += 1
    assert read >= 1000


@pytest.mark.slow
@pytest.mark.parametrize("digits", [True, False])
def test_every_character_is_read_alike(tmp_path, digits):
    """Between letters, digits, spaces and itself. Of those in Python's version of Unicode: the libraries have newer
    ones, and not the same."""
    exported(tmp_path, "q8_0", digits=digits)
    codec, model = Codec.load(tmp_path), LlamaModel(tmp_path / "q8_0.gguf")
    for first in range(0, 0x110000, 256):
        characters = [c for c in map(chr, range(first, first + 256)) if unicodedata.category(c) not in ("Cn", "Cs")]
        text = "".join(f"a{c} {c}1{c}{c}.{c}  {c}\n{c}" for c in characters)
        assert model.tokenize(text) == codec.encode(text), hex(first)


# --- generation ---


def test_greedy_generation_equals_the_full_forward_token_by_token(directory):
    model = load_model(directory)
    expected = [greedily(model, prompt, 12, 0) for prompt in PROMPTS]
    assert outputs(GgufEngine.load(directory, batch_size=3), requests(), GREEDY) == expected
    assert len(expected[-1]) == 2, "the context is full"
    assert len({token for new in expected for token in new}) > 20


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, Sampling(temperature=1.5)])
def test_torch_draws_the_same_by_the_same_seeds(directory, engine, sampling):
    many = some_requests(random.Random(0))
    assert outputs(engine, many, sampling) == outputs(TorchEngine.load(directory), many, sampling)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, Sampling(temperature=1.5)])
@pytest.mark.parametrize("batch_size", [pytest.param(2, marks=pytest.mark.slow), 5, 64])
def test_a_continuation_does_not_depend_on_the_others_their_order_or_the_batch(directory, engine, sampling, batch_size):
    generator = random.Random(batch_size)
    many = some_requests(generator)
    alone = [outputs(engine, [request], sampling)[0] for request in many]
    assert len({len(new) for new in alone}) > 5
    other = GgufEngine.load(directory, batch_size=batch_size)
    for _ in range(2):
        order = generator.sample(range(40), generator.randrange(1, 41))
        assert outputs(other, [many[index] for index in order], sampling) == [alone[index] for index in order]


@pytest.mark.parametrize("kind", ["f16", "q4_0"])
def test_the_same_call_gives_the_same_answers(tmp_path, kind):
    """Whatever was computed before it."""
    engine = GgufEngine.load(exported(tmp_path, kind, **SHAPE), threads=1)
    many = some_requests(random.Random(0))
    expected = outputs(engine, many, SAMPLED)
    outputs(engine, many[:7], GREEDY)
    engine.score([[5] * 30], [[6] * 30])
    assert outputs(engine, many, SAMPLED) == expected


def test_equal_prompts_are_read_once(engine, monkeypatch):
    read: list[int] = []
    decode = LlamaContext.decode

    def counted(self: LlamaContext, tokens: Any, *rest: Any) -> Any:
        read.append(len(tokens))
        return decode(self, tokens, *rest)

    monkeypatch.setattr(LlamaContext, "decode", counted)
    same = [Request(prompt=tuple(range(20, 40)), max_new_tokens=4, seed=seed % 3) for seed in range(20)]
    found = outputs(engine, same, SAMPLED)
    assert read[0] == 19 and max(read[1:]) == 16, "19 tokens once, then a token of each row"
    assert found[:3] * 6 + found[:2] == found and len({*map(tuple, found)}) == 3


def test_results_come_as_they_are_finished_and_a_call_may_be_abandoned(engine):
    asked = [Request(prompt=(5, 6), max_new_tokens=count) for count in (20, 3, 8, 2)]
    expected = outputs(engine, asked, SAMPLED)
    engine.batch_size = 2
    assert [index for index, _ in engine.generate(asked)] == [1, 2, 3, 0]
    running = engine.generate(sampled(asked, SAMPLED))
    begun = dict([next(running), next(running)])
    running.close()
    missing = [index for index in range(4) if index not in begun]
    rest = outputs(engine, [asked[index] for index in missing], SAMPLED)
    assert [{**begun, **dict(zip(missing, rest, strict=True))}[index] for index in range(4)] == expected


def test_two_callers_do_not_disturb_each_other(engine):
    expected = outputs(engine, requests(), SAMPLED)
    first, second = engine.generate(sampled(requests(), SAMPLED)), engine.generate(sampled(requests(), SAMPLED))
    found = [dict(pairs) for pairs in zip(*zip(first, second, strict=True), strict=True)]
    assert [[made[index] for index in range(len(PROMPTS))] for made in found] == [expected, expected]


def test_stop_is_asked_every_few_tokens(engine):
    whole = outputs(engine, requests(PROMPTS[:1], 2 * STOP_EVERY + 3), SAMPLED)[0]
    asked: list[int] = []

    def stop(new: Any) -> bool:
        asked.append(len(new))
        return len(new) > STOP_EVERY

    (request,) = requests(PROMPTS[:1], 2 * STOP_EVERY + 3)
    stopped = Request(prompt=request.prompt, max_new_tokens=request.max_new_tokens, seed=request.seed, stop=stop)
    assert outputs(engine, [stopped], SAMPLED)[0] == whole[: 2 * STOP_EVERY]
    assert asked == [STOP_EVERY, 2 * STOP_EVERY]


def test_every_end_of_text_of_the_directory_ends_a_row(tmp_path):
    model = example(tmp_path, **SHAPE)
    whole = greedily(model, PROMPTS[0], 12)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "eos_token_id": [0, whole[4]]}))
    write_gguf(tmp_path, tmp_path / "a.gguf", kind="f32")
    engine = GgufEngine.load(tmp_path)
    assert engine.eos == {0, whole[4]}
    assert outputs(engine, requests(PROMPTS[:1]), GREEDY) == [whole[: whole.index(whole[4])]]


def test_requests_that_cannot_be_met_are_refused(engine):
    checked: Engine = engine
    assert checked.context == 40 and list(checked.generate([])) == []
    for prompt in ((), (1,) * 40):
        with pytest.raises(ValueError, match="1 to 39 fit"):
            checked.generate([Request(prompt=prompt, max_new_tokens=1)])
    for pair in (([], [1]), ([1], []), ([1], [1] * 41)):
        with pytest.raises(ValueError, match="can be asked"):
            checked.loglikelihood([pair])
    with pytest.raises(ModelError, match=r"decode 1 tokens .* invalid token"):
        list(checked.generate([Request(prompt=(512,), max_new_tokens=1)]))
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        checked.generate(requests())


# --- scores ---


def test_scores_are_those_of_torch(directory, engine):
    generator = random.Random(0)
    tokens = [[generator.randrange(512) for _ in range(generator.randrange(1, 41))] for _ in range(50)]
    labels = [[token if generator.random() < 0.7 else -100 for token in [*row[1:], 3]] for row in tokens]
    labels[7] = [-100] * len(tokens[7])
    found, expected = (one.score(tokens, labels) for one in (engine, TorchEngine.load(directory)))
    assert [score.count for score in found] == [score.count for score in expected]
    assert [score.nll for score in found] == pytest.approx([score.nll for score in expected], rel=1e-5)
    assert found[7].nll == 0 and engine.score([], []) == []


def test_a_row_of_many_parts_is_scored_as_a_whole(tmp_path):
    exported(tmp_path, max_position_embeddings=1500, qk_norm=True)
    row = [random.Random(0).randrange(512) for _ in range(1400)]
    (found,), (expected,) = (
        one.score([row], [[*row[1:], -100]]) for one in (GgufEngine.load(tmp_path), TorchEngine.load(tmp_path))
    )
    assert found.count == 1399 and found.nll == pytest.approx(expected.nll, rel=1e-5)


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_likelihoods_are_those_of_torch(directory, batch_size):
    generator, model = random.Random(0), load_model(directory)

    def some(most: int) -> list[int]:
        return [generator.randrange(512) for _ in range(generator.randrange(1, most))]

    pairs = [(some(20), some(12)) for _ in range(30)]
    pairs += [([3, 4], greedily(model, (3, 4), 5)), (some(20) * 30, [1, 2, 3]), ([7], list(range(40)))]
    engines = GgufEngine.load(directory, batch_size=batch_size), TorchEngine(model)
    for (total, greedy), (expected, likeliest) in zip(*(one.loglikelihood(pairs) for one in engines), strict=True):
        assert total == pytest.approx(expected, rel=1e-4) and greedy == likeliest


# --- what can be wrong ---


def test_a_directory_with_no_file_or_several(tmp_path, directory):
    for count in (0, 2):
        with pytest.raises(ModelError, match=f"holds {count} .gguf files"):
            GgufEngine.load(tmp_path)
        for name in "ab":
            (tmp_path / f"{name}.gguf").symlink_to(directory / "f32.gguf") if not count else None
    with pytest.raises(ModelError, match="does not exist"):
        GgufEngine.load(tmp_path / "nowhere.gguf")
    assert GgufEngine.load(tmp_path / "a.gguf").context == 40


@pytest.mark.parametrize("cut", [0, 3, 100, 5000, -4000, -1])
def test_a_file_cut_short_is_refused(tmp_path, directory, cut):
    (tmp_path / "cut.gguf").write_bytes((directory / "f32.gguf").read_bytes()[:cut])
    with pytest.raises(ModelError, match="cannot load") as error:
        GgufEngine.load(tmp_path)
    assert error.value.help


@pytest.mark.parametrize("content", [pickle.dumps([1]), b"GGUF" + bytes(100), b"x" * 5000])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "other.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot load .*: gguf_init"):
        GgufEngine.load(tmp_path)


def test_a_library_that_is_missing_or_another(directory, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    llama_library.library.cache_clear()
    llama_cpp.llama.cache_clear()
    with pytest.raises(ModelError, match="xllamacpp is not installed") as error:
        GgufEngine.load(directory)
    assert error.value.help == "pip install 'albor[gguf]'"
    monkeypatch.undo()
    with monkeypatch.context() as patched:
        patched.setitem(llama_cpp.CONTEXT_DEFAULTS, "type_k", 2)
        with pytest.raises(ModelError, match=r"ContextParams\.type_k is 1") as error:
            GgufEngine.load(directory)
        assert "pip install 'xllamacpp==" in (error.value.help or "")
    with monkeypatch.context() as patched:
        patched.setitem(llama_cpp.TYPES, "llama_from_the_future", (None, ()))
        with pytest.raises(ModelError, match="llama_from_the_future"):
            GgufEngine.load(directory)
    assert GgufEngine.load(directory).context == 40


def test_nothing_is_said_and_nothing_is_left(directory, capfd):
    for _ in range(3):
        engine = GgufEngine.load(directory)
        outputs(engine, requests(), GREEDY)
        held = engine.model
        engine.close()
        assert sys.getrefcount(held) == 2, "nobody else keeps it from being freed"
    assert capfd.readouterr() == ("", "")


# --- llama.cpp's own server ---


@pytest.mark.slow
def test_the_server_of_llama_cpp_fills_in(tmp_path):
    """Without the tokens' ids in the file /infill answers 501."""
    import xllamacpp

    exported(tmp_path, "f16")
    params = xllamacpp.CommonParams()
    params.model.path = str(tmp_path / "f16.gguf")
    params.n_ctx, params.port, params.cpuparams.n_threads = 256, 0, 1
    server = xllamacpp.Server(params)
    body = json.dumps({"input_prefix": "def f(", "input_suffix": "return x", "n_predict": 4}).encode()
    asked = urllib.request.Request(f"{server.listening_address}/infill", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        found = json.load(answer)
    assert answer.status == 200 and found["tokens_predicted"] == 4
