"""Requests that come and go, whatever engine runs them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from albor.inference.engine import Continuation, Request, Sampling, Session
from albor.inference.gguf_engine import GgufEngine
from albor.inference.network_slots import NetworkSlots
from albor.inference.slot_engine import SlotEngine
from albor.inference.slots import Slots
from albor.inference.torch_engine import TorchEngine
from albor.models.decoder import Decoder
from albor.models.gguf import write_gguf
from tests.models.gguf_example import example

SHAPE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "intermediate_size": 48, "max_position_embeddings": 120}  # fmt: skip
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.8, top_p=0.9),
    Sampling(temperature=1.2, top_k=5),
    Sampling(temperature=2.0),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    example(place, **SHAPE)
    write_gguf(place, place / "f32.gguf", kind="f32")
    return place


@pytest.fixture(params=["torch", "gguf"])
def engine(directory: Path, request: pytest.FixtureRequest) -> SlotEngine[Any]:
    return TorchEngine.load(directory) if request.param == "torch" else GgufEngine.load(directory, threads=1)


def some_request(draw: random.Random) -> Request:
    """Prompts of few beginnings, many of them the same."""
    beginning = tuple(random.Random(draw.randrange(3)).choices(range(20, 500), k=50)[: draw.choice((0, 20, 50))])
    end = tuple(draw.randrange(20, 500) for _ in range(draw.choice((0, 0, 1, 30)))) or (9,)
    return Request(
        prompt=beginning + end,
        max_new_tokens=draw.randrange(1, 30),
        sampling=draw.choice(SAMPLINGS),
        seed=draw.randrange(4),
        told=draw.choice((None, None, 0, 3)),
    )


def run(session: Session, wanted: Continuation) -> list[int]:
    while not wanted.ended:
        session.advance()
    return wanted.tokens


def alone(engine: SlotEngine[Any], request: Request) -> list[int]:
    [(_, ids)] = engine.generate([request])
    return ids


@pytest.mark.parametrize(
    ("chunk", "pace"),
    [
        (64, (1, 0)),
        (7, (3, 2)),
        *(
            pytest.param(chunk, pace, marks=pytest.mark.slow)
            for chunk, pace in ((7, (1, 0)), (64, (3, 2)), (7, (4, 1)), (64, (4, 1)))
        ),
    ],
)
def test_each_is_continued_as_if_it_were_alone(engine, monkeypatch, chunk, pace) -> None:
    """Whatever comes, goes, is cancelled or shares a beginning beside it."""
    draw = random.Random(chunk)
    monkeypatch.setattr("albor.inference.batching.PACE", {"cpu": pace})
    monkeypatch.setattr(type(engine), "chunk", chunk)
    session, made, gone = engine.session(rows=5), list[Continuation](), set[int]()
    for _ in range(60):
        for _ in range(draw.choice((0, 0, 1, 4))):
            made.append(session.add(some_request(draw)))
        if made and draw.random() < 0.2:
            one = draw.choice(made)
            if one.ended is None:
                gone.add(id(one))
            session.cancel(one)
        session.advance()
    while not session.idle:
        session.advance()
    assert len(gone) > 3 and len(made) > 40 and sum(one.reused > 0 for one in made) > 10
    for one in made:
        expected = alone(engine, one.request)
        if id(one) in gone:
            assert one.ended == "cancelled" and one.tokens == expected[: len(one.tokens)]
        else:
            assert one.tokens == expected and one.ended in ("end", "length")
        assert len(one.likelihoods) == (0 if one.request.told is None else len(one.tokens))


def test_what_is_held_is_not_read_again(engine, monkeypatch) -> None:
    read: list[int] = []
    slots: type[Slots] = NetworkSlots if isinstance(engine, TorchEngine) else type(engine._make_slots(1, 128))
    reads = slots.read

    def counted(self: Any, rows: Any, *rest: Any) -> None:
        read.extend(map(len, rows))
        reads(self, rows, *rest)

    monkeypatch.setattr(slots, "read", counted)
    session, text = engine.session(rows=3), tuple(range(30, 90))
    first = session.add(Request(prompt=text, max_new_tokens=8))
    run(session, first)
    assert read == [59] and first.reused == 0
    grown = (*text, *first.tokens[:3], 17, 18)
    second = session.add(Request(prompt=grown, max_new_tokens=8))
    run(session, second)
    assert second.reused == 63 and read[1:] == [1], "what was generated is known as well"
    del read[:]
    # Another one between takes another slot; two at once wait for one that reads.
    other = tuple(range(200, 260))
    both = [session.add(Request(prompt=(*other, last), max_new_tokens=8)) for last in (7, 8)]
    again = session.add(Request(prompt=grown, max_new_tokens=8))
    for one in (*both, again):
        run(session, one)
    assert read == [60] and [one.reused for one in (*both, again)] == [0, 60, 64]
    assert again.tokens == second.tokens
    for one in (first, second, *both, again):
        assert one.tokens == alone(engine, one.request)


def test_a_beginning_in_common_is_copied_and_what_held_it_stays(engine) -> None:
    session, text = engine.session(rows=4), tuple(range(30, 130))
    long = session.add(Request(prompt=text[:100], max_new_tokens=4))
    run(session, long)
    short = session.add(Request(prompt=(*text[:20], 5), max_new_tokens=4))
    run(session, short)
    again = session.add(Request(prompt=text[:100], max_new_tokens=4))
    run(session, again)
    assert (short.reused, again.reused) == (20, 99) and again.tokens == long.tokens
    assert short.tokens == alone(engine, short.request)


def test_a_long_prompt_does_not_hold_up_those_that_write(engine, monkeypatch) -> None:
    monkeypatch.setattr(type(engine), "chunk", 10)
    session = engine.session(rows=2)
    writes = session.add(Request(prompt=(5, 6), max_new_tokens=40))
    while not writes.tokens:
        session.advance()
    reads = session.add(Request(prompt=tuple(range(20, 120)), max_new_tokens=2))
    before = len(writes.tokens)
    for _ in range(9):
        assert reads not in session.advance()
    assert len(writes.tokens) == before + 9
    session.cancel(reads)
    run(session, writes)
    assert reads.ended == "cancelled" and not reads.tokens
    # What had been read of it serves the next.
    assert run(session, again := session.add(reads.request)) == alone(engine, reads.request)
    assert again.reused == 90


def test_a_session_s_capacity_bounds_prompt_and_continuation(engine) -> None:
    session = engine.session(rows=1, capacity=30)
    assert session.capacity == 30 and engine.session(rows=1, capacity=500).capacity == 120
    one = session.add(Request(prompt=tuple(range(25)), max_new_tokens=50))
    assert len(run(session, one)) == 5 and one.ended == "length"
    with pytest.raises(ValueError, match="1 to 29 fit"):
        session.add(Request(prompt=tuple(range(30)), max_new_tokens=1))


def test_why_it_ended(directory: Path, engine) -> None:
    whole = alone(engine, Request(prompt=(5, 6, 7), max_new_tokens=20))
    eos = frozenset([whole[6]])
    ends = TorchEngine.load(directory) if isinstance(engine, TorchEngine) else GgufEngine.load(directory, threads=1)
    ends.eos = eos
    session = ends.session(rows=2)
    one = session.add(Request(prompt=(5, 6, 7), max_new_tokens=20, told=1))
    assert run(session, one) == whole[: whole.index(whole[6])] and one.ended == "end"
    assert len(one.likelihoods) == len(one.tokens)
    stopped = engine.session(rows=2).add(Request(prompt=(5, 6, 7), max_new_tokens=20))
    assert stopped.ended is None


# --- what the model says ---


@torch.no_grad()
def logprobs(model: Decoder, ids: Sequence[int]) -> torch.Tensor:
    found: torch.Tensor = model(torch.tensor([list(ids)]))[0].log_softmax(-1)
    return found


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_likelihoods_beside_the_tokens(engine, directory, sampling) -> None:
    """Those before temperature, top-p and top-k, of a row among others that want none."""
    from albor.models.checkpoint import load_model

    model, session = load_model(directory), engine.session(rows=3)
    prompt = tuple(range(40, 60))
    others = [session.add(Request(prompt=(n, 8), max_new_tokens=9, sampling=SAMPLINGS[1])) for n in (3, 4)]
    one = session.add(Request(prompt=prompt, max_new_tokens=12, sampling=sampling, seed=3, told=4))
    assert run(session, one) == alone(engine, one.request)
    expected = logprobs(model, [*prompt, *one.tokens])[len(prompt) - 1 : -1]
    best = expected.topk(4)
    for place, (token, said) in enumerate(zip(one.tokens, one.likelihoods, strict=True)):
        assert said.logprob == pytest.approx(float(expected[place, token]), abs=1e-4)
        assert [found for found, _ in said.likeliest] == best.indices[place].tolist()
        assert [p for _, p in said.likeliest] == pytest.approx(best.values[place].tolist(), abs=1e-4)
    for other in others:
        assert run(session, other) == alone(engine, other.request) and not other.likelihoods


def test_likelihoods_of_a_text(engine, directory, monkeypatch) -> None:
    from albor.models.checkpoint import load_model

    ids = [random.Random(1).randrange(500) for _ in range(121)]
    expected = logprobs(load_model(directory), ids[:-1])
    monkeypatch.setattr(TorchEngine, "budget", 300)
    found = engine.likelihoods(ids, told=2)
    assert len(found) == 120
    for place, said in enumerate(found):
        assert said.logprob == pytest.approx(float(expected[place, ids[place + 1]]), abs=1e-4)
        assert [token for token, _ in said.likeliest] == expected[place].topk(2).indices.tolist()
    assert engine.likelihoods([5]) == [] and engine.likelihoods([5, 6])[0].likeliest == ()
    for wrong in ([], [1] * 122):
        with pytest.raises(ValueError, match="can be asked"):
            engine.likelihoods(wrong)
