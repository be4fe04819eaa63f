"""A model's card, as the Hub's own client reads it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from huggingface_hub import ModelCard as TheirCard
from huggingface_hub import metadata_load
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.config.schema.model import Model
from albor.report.energy import Spent
from albor.report.made import licences, origins, results, teachers
from albor.report.model_card import Contract, Licence, ModelCard, Origin, Predicted, Result, Step, on_one_line, render
from albor.runs.manifest import InputRef, Manifest

SHAPE = Model(
    name="tiny",
    hidden_size=192,
    num_hidden_layers=6,
    num_attention_heads=6,
    num_key_value_heads=2,
    intermediate_size=512,
    vocab_size=8192,
)
EVALUATION: dict[str, Any] = {
    "val_ppl": 12.345678901234567,
    "val_bits_per_byte": 1.0625,
    "val_rows": 64,
    "scores": {
        "humaneval": {
            "problems": 164,
            "samples": 1,
            "pass@1": {"value": 0.1280487804878, "low": 0.0793, "high": 0.189},
            "empty": 0.0,
            "groups": {"x": {"problems": 3}},
        },
        "lambada": {"problems": 9, "acc": {"value": 1 / 3, "low": 0.1, "high": 0.6}, "perplexity": {"value": 31.25}},
    },
}
TASKS = {"humaneval": {"hub": {"repo": "openai/openai_humaneval", "revision": "x"}}, "lambada": None}
CARD = ModelCard(
    name="tiny merge",
    stage="merge",
    parameters=3_934_656,
    shape=SHAPE,
    files=[("config.json", "700 B"), ("model.safetensors", "7.9 MB")],
    dtype="bf16",
    gguf=["model-Q8_0.gguf"],
    fim=("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    licence="apache-2.0",
    base_models=["org/base", "org/other"],
    relation="merge",
    steps=[Step("pretrain", "0123456789ab", "tiny, steps 360"), Step("merge", "ba9876543210", "slerp")],
    data=[Licence("MIT", 3, 40, 123_456), Licence("PSF-2.0", 1, 9, 5_000)],
    evaluation="abcdefabcdef",
    results=list(results(EVALUATION, TASKS, "abcdefabcdef")),
)


def test_its_numbers_are_those_of_the_evaluation() -> None:
    read = TheirCard(render(CARD))
    found = {(it.dataset_name, it.metric_type): it.metric_value for it in read.data.eval_results}
    assert found == {
        ("held-out rows", "val_ppl"): 12.345678901234567,
        ("held-out rows", "val_bits_per_byte"): 1.0625,
        ("humaneval", "pass@1"): 0.1280487804878,
        ("lambada", "acc"): 1 / 3,
        ("lambada", "perplexity"): 31.25,
    }
    assert {it.dataset_name: it.dataset_type for it in read.data.eval_results} == {
        "held-out rows": "held-out-rows",
        "humaneval": "openai/openai_humaneval",
        "lambada": "lambada",
    }
    assert "| humaneval | pass\\@1 | 12.8% (7.9–18.9) | 164 | `abcdefabcdef` |" in read.text
    assert (
        "| lambada | perplexity | 31.25 | 9 |" in read.text and "| held-out rows | val_ppl | 12.346 | – |" in read.text
    )
    assert "`abcdefabcdef`, of the weights as trained, before they were rounded to bf16 and GGUF" in read.text


def test_its_head_says_what_the_hub_asks() -> None:
    head = TheirCard(render(CARD)).data.to_dict()
    assert head["license"] == "apache-2.0" and head["library_name"] == "transformers"
    assert head["base_model"] == ["org/base", "org/other"] and head["base_model_relation"] == "merge"
    assert head["pipeline_tag"] == "text-generation" and head["language"] == ["code"]
    assert head["tags"] == ["python", "code", "albor", "fill-in-the-middle", "gguf"]


def test_what_is_not_known_is_said_to_be_so() -> None:
    bare = ModelCard(name="x", stage=None, parameters=None, shape=None, files=[], dtype=None, gguf=["model-Q4_0.gguf"])
    read = TheirCard(render(bare))
    assert "model-index" not in read.data.to_dict() and "license" not in read.data.to_dict()
    for sentence in ("has not been evaluated", "has not been said", "is not recorded", "No run of albor made it"):
        assert sentence in read.text
    assert "transformers" not in read.text and "llama-server --model model-Q4_0.gguf" in read.text


def test_the_code_of_the_card_is_code() -> None:
    for card in (CARD, replace(CARD, chat=True), replace(CARD, fim=None)):
        blocks = render(card).split("```python\n")[1:]
        assert blocks and all(compile(block.split("\n```")[0], "card", "exec") for block in blocks)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_no_text_breaks_out_of_the_card(said: str) -> None:
    assert_whole_with(said)


def assert_whole_with(said: str) -> None:
    """A card that says this everywhere has the parts of any other."""
    hostile = replace(
        CARD,
        name=said,
        licence=said,
        base_models=[said],
        steps=[Step("merge", "0", said)],
        data=[Licence(said, 1, 1, 1)],
        results=[Result(task=said, metric="pass@1", value=0.5)],
        files=[(said, said and "1 B")],
        run=said,
        gone=[said],
        teachers=[said],
        datasets=[said],
        command=said,
        commit=said,
        fim=(said, said, said),
        gguf=[said],
        origins=[Origin(said, said, said)],
        contracts=[Contract("C-FIT-001", "let through", said)],
        unchecked=[said],
        predictions=[Predicted("FALSIFY-ALBOR-001", said, "UNTESTED", said)],
        spent=[replace(SPENT, stage=said, id=said, device=said)],
    )
    read = TheirCard(render(hostile))
    assert [it.dataset_name for it in read.data.eval_results] == [read.data.license] == [on_one_line(said)]
    assert metadata_load_of(render(hostile)) == read.data.to_dict()
    outside = "".join(read.text.split("```")[::2])
    assert read.text.count("```") % 2 == 0
    assert not re.search(r"(?<!\\)(\]\(|<)", re.sub(r"`[^`\n]*`", "", outside)), "a link or a tag"
    headings = [line for line in outside.splitlines() if line.startswith("#")]
    assert headings[1:] == SECTIONS and headings[0].startswith("# ")
    tables = [line for line in outside.splitlines() if line.startswith("|")]
    cells = {len(re.split(r"(?<!\\)\|", line)) - 2 for line in tables}
    assert cells == {2, 3, 4, 5, 6}, "no cell is cut or added"


SECTIONS = ["## Use", "## Intended use and limits", "## Evaluation", "## How it was made", "## Data", "## Contracts",
            "## Predictions", "## Hardware, time and energy"]  # fmt: skip
SPENT = Spent(stage="pretrain", id="0", device="h100", devices=8, seconds=3600.0, watts=700.0, measured=False,
              pue=1.5, carbon_intensity=400.0)  # fmt: skip


def metadata_load_of(text: str) -> dict[str, Any]:
    """The head, by the Hub's own reader of files."""
    with TemporaryDirectory() as place:
        path = Path(place, "README.md")
        path.write_text(text, encoding="utf-8")
        found = metadata_load(path)
    assert isinstance(found, dict)
    return found


BREAKING = (
    *("<script>alert(1)</script>", "a|b|c", "x\n## Evaluation\n| a | b |", "`rm -rf`", "---\nlicense: mit\n---"),
    *("```\nx", "[x](http://evil)", "![x](y)", "a: b\n- c", "{{ x }}", "\x1b[31m", "\u202e", "&lt;b&gt;"),
    *("!!python/object", "'\"\\"),
)


@pytest.mark.parametrize("said", BREAKING)
def test_known_ways_to_break_out(said: str) -> None:
    assert_whole_with(said)


def test_energy_is_shown_with_all_that_it_is_made_of() -> None:
    read = TheirCard(render(replace(CARD, spent=[SPENT, replace(SPENT, measured=True, watts=350.0)])))
    assert "| pretrain | `0` | 8 × h100 | 1 h 00 min | 700 | 8.4 |" in read.text
    assert "| pretrain | `0` | 8 × h100 | 1 h 00 min | 350 measured | 4.2 |" in read.text
    assert "**An estimate**: 12.6 kWh and 5.04 kg of CO2" in read.text and "measured in 1 of 2 runs" in read.text
    unknown = TheirCard(render(replace(CARD, spent=[replace(SPENT, watts=None)])))
    assert "is not known" in unknown.text and "An estimate" not in unknown.text


# --- read off manifests ---


def manifest(stage: str, **changes: Any) -> Manifest:
    plain: dict[str, Any] = {"version": 1, "id": "0", "label": "x", "status": "done", "command": "", "config": {}}
    return Manifest(stage=stage, **{**plain, **changes})


def test_models_that_were_started_from_are_named_and_teachers_apart(tmp_path) -> None:
    hub = InputRef(stage="hub", id="hf:org/start@v1", path="org/start@v1")
    teacher = {"teacher": {"kind": "hf", "repo": "org/teacher", "licence": "other"}}
    runs = [
        (tmp_path, manifest("pretrain", inputs={"init_from": hub})),
        (tmp_path, manifest("distill", config=teacher, inputs={"teacher": replace(hub, id="hf:org/teacher")})),
        (tmp_path, manifest("finetune", config={"teacher": {"kind": "albor", "model": "small"}})),
    ]
    assert origins(runs) == ["org/start"] and teachers(runs) == ["org/teacher (other)"]


def test_a_corpus_that_is_gone_is_no_error(tmp_path) -> None:
    assert licences([(tmp_path, manifest("prepare"))]) == []


@pytest.mark.parametrize("facts", [{}, {"scores": {}}, {"samples": 4, "scores": {"x": {"problems": 3}}}])
def test_an_evaluation_without_numbers_has_none(facts: dict[str, Any]) -> None:
    assert list(results(facts, {})) == []
