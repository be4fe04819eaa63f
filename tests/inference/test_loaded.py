"""A model from Python: ``albor.load``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import albor
from albor.data.chat import Message
from albor.errors import AlborError
from albor.inference.loaded import LanguageModel
from albor.inference.prompts import TextRequest
from albor.runs.store import Store
from tests.command import albor as command
from tests.serve.serving import models


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=["chat", "q8"])
def model(request: pytest.FixtureRequest, directories: dict[str, Path]) -> LanguageModel:
    return albor.load(directories[request.param], threads=1)


def test_a_text_whole_and_in_pieces(model: LanguageModel) -> None:
    for seed in range(3):
        whole = model.complete("def f(", max_tokens=40, temperature=1.0, seed=seed)
        assert "".join(model.stream("def f(", max_tokens=40, temperature=1.0, seed=seed)) == whole.text == str(whole)
        assert 0 < len(whole.tokens) <= 40 and whole.ended in ("length", "end")
    assert model.complete("def f(", "\n", max_tokens=9, temperature=1, seed=1) != model.complete(
        "def f(", "", max_tokens=9, temperature=1, seed=1
    )


def test_a_text_that_is_left_is_written_no_longer(model: LanguageModel) -> None:
    pieces = model.stream("class A:\n", max_tokens=300, temperature=1.0, seed=1)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    model.desk().advance()
    assert model.desk().idle


def test_two_streams_in_turn(model: LanguageModel) -> None:
    seeds = (1, 2)
    expected = [model.complete("x", max_tokens=30, temperature=1.0, seed=seed).text for seed in seeds]
    streams = [model.stream("x", max_tokens=30, temperature=1.0, seed=seed) for seed in seeds]
    texts = ["", ""]
    for _ in range(60):
        for number, stream in enumerate(streams):
            texts[number] += next(stream, "")
    assert texts == expected


def test_what_was_read_serves_again(model: LanguageModel) -> None:
    text = "def quicksort(items):\n    if len(items) < 2:\n        return items\n"
    model.complete(text, max_tokens=2)
    assert model.complete(text + "    pivot", max_tokens=2).reused > 15
    assert model.complete("\n\n" + text, max_tokens=2).reused == 0


def test_log_probabilities(model: LanguageModel) -> None:
    said = model.logprobs("def f(x):\n", told=2)
    assert "".join(one.token for one in said) == "def f(x):\n"
    assert all(one.logprob < 0 and len(one.likeliest) == 2 for one in said)
    made = model.complete("def f(", max_tokens=5, logprobs=1)
    assert [one.id for one in made.logprobs] == list(made.tokens)
    assert all(one.likeliest[0][1] == pytest.approx(one.logprob, abs=1e-5) for one in made.logprobs)


def test_messages(model: LanguageModel, directories: dict[str, Path]) -> None:
    assert model.chat([Message("user", "hi")], max_tokens=5).tokens
    with pytest.raises(AlborError, match="no chat template"):
        albor.load(directories["base"]).chat([Message("user", "hi")])


def test_settings_out_of_range(model: LanguageModel) -> None:
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_k": 9999}, {"logprobs": 21}):
        with pytest.raises(ValueError, match=r"needed|can be told"):
            model.complete("x", max_tokens=2, **wrong)
    with pytest.raises(ValueError, match=r"^0 new tokens: at least 1 is needed$"):
        model.complete("x", max_tokens=0)


def test_no_limit_is_what_fits_and_a_limit_of_nothing_is_nothing(model: LanguageModel) -> None:
    whole = model.frame(TextRequest(prompt="x"))
    assert whole.room == model.context - len(whole.ids)
    assert model.frame(TextRequest(prompt="x", max_new_tokens=0)).room == 0


def test_a_model_without_fim_tokens(directories: dict[str, Path], tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(directories["base"], plain)
    roles = (plain / "roles.json").read_text()
    (plain / "roles.json").write_text(roles.replace(roles[roles.index('"fim": ') :], '"fim": null}'))
    with pytest.raises(AlborError, match="fill-in-the-middle") as refused:
        albor.load(plain).complete("a", "b")
    assert refused.value.code == "E-INFER"


def test_what_can_be_loaded(directories: dict[str, Path], tmp_path: Path) -> None:
    file = directories["q8"] / "model.gguf"
    assert albor.load(file).complete("x", max_tokens=3) == albor.load(str(directories["q8"])).complete(
        "x", max_tokens=3
    )
    with pytest.raises(AlborError, match="there is no run"):
        albor.load("nothing", outputs=tmp_path)


def test_importing_albor_imports_no_torch() -> None:
    code = "import sys, albor; assert 'torch' not in sys.modules; albor.load; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- bench, which measures such a model ---


@pytest.mark.parametrize("name", ["base", "q8"])
@pytest.mark.slow
def test_a_model_is_measured_beside_its_peer(directories: dict[str, Path], tmp_path: Path, name: str) -> None:
    words = ("stage.prompt_tokens=12", "stage.new_tokens=6", "stage.rounds=2", "stage.rows=[1,3]", "stage.threads=[1]")
    done = command("stage=bench", f"inputs.model={directories[name]}", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = Store(tmp_path / "outputs").runs()
    timings = run.manifest.facts["timings"]
    peer = "transformers generate" if name == "base" else "llama.cpp, decoding alone"
    assert [timing["engine"] == peer for timing in timings] == [False, False, True, True]
    for timing in timings:
        assert timing["rate"] > 0 and timing["memory"] > 1 << 20
        if timing["rows"] == 1:
            assert 0 < timing["p50_ms"] <= timing["p90_ms"] and timing["first_ms"] > 0
    assert peer in done.stdout and peer in (run.artifact / "report.html").read_text()
    # A file that is run by llama.cpp has no other device.
    if name == "q8":
        refused = command("stage=bench", f"inputs.model={directories[name]}", "stage.device=cuda", cwd=tmp_path)
        assert refused.returncode == 2 and "E-DEVICE" in refused.stderr and "Traceback" not in refused.stderr
