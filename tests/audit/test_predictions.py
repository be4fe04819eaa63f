"""`albor falsify` on runs that were really made, and on made-up runs of the stages that are not built here."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from albor.audit.evaluations import evaluations
from albor.audit.facts import Facts, gather
from albor.audit.falsify import chosen, judge, material
from albor.audit.items import ITEMS
from albor.audit.predictions import PREDICTIONS, Judgment
from albor.audit.predictions.distillation import bits_per_byte, fim_exact
from albor.audit.predictions.divergence import LOGGED
from albor.errors import AlborError
from albor.evals import journal
from albor.plan.nodes import Planner
from albor.runs import manifest
from albor.runs.manifest import InputRef
from albor.runs.store import Run, Store
from albor.training import distillation
from albor.training.distill import Distilled
from albor.transforms import merge
from tests.audit import spoil
from tests.audit.spoil import find

pytestmark = pytest.mark.xdist_group("audit")


def verdict(store: Path, number: int, *names: str) -> Judgment:
    [(_, judgment)] = judge(chosen([str(number)]), material(store, names))
    return judgment


# --- on what was made ---


def test_the_runs_of_a_store_are_judged_and_a_report_is_written(store: Path, albor) -> None:
    done = albor("falsify", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert [one["id"] for one in found] == [f"FALSIFY-ALBOR-{n:03d}" for n in range(1, 10)]
    verdicts = [one["verdict"] for one in found]
    assert [number for number, verdict in enumerate(verdicts, 1) if verdict == "CORROBORATED"] == [1, 2, 3, 4, 7]
    assert all((one["command"] is None) != (one["verdict"] == "UNTESTED") for one in found)
    run = find(store, "pretrain")
    loss, gradients, same = (one["numbers"] for one in found[:3])
    assert loss["run"] == gradients["run"] == run.manifest.id and loss["last"] < loss["first"]
    assert gradients["steps"] == 240 and gradients["largest"] < 10
    assert same["sha256"] == [run.manifest.files["model.safetensors"].sha256] * 2 or same["step"] == 240
    text, page = ((store / "falsify" / f"predictions.{kind}").read_text() for kind in ("md", "html"))
    for one in found:
        assert one["id"] in text and one["id"] in page and one["verdict"] in text
    assert "not both keep step 1,000" in found[2]["evidence"]
    assert albor("falsify", "2", "--out", "mine.md").code == 0
    assert "FALSIFY-ALBOR-002" in Path("mine.md").read_text() and Path("mine.html").exists()


def test_ids_are_given_as_one_likes(store: Path, albor) -> None:
    for word in ("FALSIFY-ALBOR-002", "falsify-albor-002", "002", "2"):
        out = albor("falsify", word).out
        assert out.startswith("FALSIFY-ALBOR-002  CORROBORATED") and out.count("FALSIFY-") == 1
    assert albor("falsify", "1", "3").out.count("CORROBORATED") == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("FALSIFY-ALBR-003",), "did you mean FALSIFY-ALBOR-003?"),
        (("010",), "the predictions are 001, 002"),
        (("0",), "the predictions are 001"),
        (("1", "run=nothing"), "there is no run 'nothing'"),
        (("optim.lr=1",), "does not concern the runs"),
    ],
)
def test_what_is_misspelt_is_refused(words: Sequence[str], text: str, store: Path, albor) -> None:
    done = albor("falsify", *words)
    assert done.code == 2 and text in done.err, done.err


def test_a_refuted_prediction_has_exit_code_1(store: Path, albor) -> None:
    spoil.each("grad_norm_clipped", lambda entry: 11.0)(store)
    done = albor("falsify", "002", f"run={find(store, 'pretrain').directory.name}")
    assert done.code == 1 and "FALSIFIED" in done.out and "11.0000" in done.out


def test_a_loss_that_rises_and_stays_is_a_refutation_and_one_that_recovers_is_none(store: Path) -> None:
    def bump(lowest: float, first: int, last: int) -> spoil.Spoil:
        """A run of 2,000 steps whose loss falls to ``lowest``, and is 10% higher over some steps."""

        def line(step: int) -> spoil.Entry:
            loss = lowest + 4 * np.exp(-step / 100)
            return {"step": step, "lr": 0.1, "loss": float(loss * (1.1 if first <= step < last else 1))}

        return spoil.log(lambda entries: [line(step) for step in range(1, 2001)])

    for first, last, expected in ((0, 0, "CORROBORATED"), (800, 900, "CORROBORATED"), (800, 1700, "FALSIFIED")):
        bump(3.0, first, last)(store)
        judgment = verdict(store, 1)
        assert judgment.verdict == expected, judgment.evidence
        assert judgment.numbers["window_steps"] == 500


def test_too_short_a_run_is_no_test_of_the_loss(store: Path) -> None:
    spoil.log(lambda entries: entries[:150])(store)
    judgment = verdict(store, 1)
    assert judgment.verdict == "UNTESTED" and "fewer than two spans of 100" in judgment.evidence


def test_two_runs_are_compared_only_when_they_were_made_apart(store: Path, tmp_path: Path) -> None:
    run = find(store, "pretrain")
    again = next((store / "again" / "pretrain").iterdir())
    assert verdict(store, 3, str(run.directory), str(again)).verdict == "CORROBORATED"
    shutil.copytree(run.directory, tmp_path / "copy" / "pretrain" / run.directory.name)
    shutil.rmtree(store / "again")
    copied = verdict(store, 3, str(run.directory), str(tmp_path / "copy" / "pretrain" / run.directory.name))
    alone = verdict(store, 3)
    assert copied.verdict == alone.verdict == "UNTESTED" and "was made once" in alone.evidence
    assert alone.command is not None and alone.command.endswith(" outputs=outputs/again")
    spoil.config("pretrain", trainer__deterministic=False)(store)
    assert "none of the runs that were named has seed 42" in verdict(store, 3, str(run.directory)).evidence
    assert "no run has seed 42 and trainer.deterministic=true" in verdict(store, 3).evidence


def test_an_evaluation_says_how_each_of_its_items_went(store: Path) -> None:
    [made] = evaluations(Store(store).runs(), find(store, "pretrain").manifest.id)
    bits, holes = bits_per_byte(made), fim_exact(made)
    tokens = [key[2] for key in bits if isinstance(key, tuple)]
    assert len(bits) == made.facts["val_rows"] and sum(tokens) == made.facts["val_tokens"]
    assert np.average([*bits.values()], weights=tokens) == pytest.approx(made.facts["val_bits_per_byte"])
    score = made.facts["scores"]["santacoder_fim"]
    assert len(holes) == score["problems"] == 8 and np.mean([*holes.values()]) == score["exact@1"]["value"]


def test_what_would_test_a_prediction_is_a_command_that_can_be_planned(tmp_path: Path, planner: Planner) -> None:
    for number in (1, 2, 3):
        command = verdict(tmp_path, number).command
        assert command is not None
        plan = planner.plan(tuple(command.removeprefix("python -m albor ").partition(",")[0].split()))
        assert plan.target.stage.name == "pretrain" and plan.errors == []


# --- on made-up runs ---


def made(store: Path, stage: str, name: str, inputs: Mapping[str, str], **changes: Any) -> Run:
    """A finished run of a stage, whatever its config; inputs by name and id."""
    directory = store / stage / f"x-{name}"
    (directory / "artifact").mkdir(parents=True)
    refs = {key: InputRef(stage="any", id=id_, path=f"../../any/x-{id_}/artifact") for key, id_ in inputs.items()}
    base = find(store, "pretrain").manifest
    whole = replace(base, stage=stage, id=name, inputs=refs, files={}, **changes)
    manifest.save(directory, whole)
    return Run(directory, manifest.load(directory))


def measured(
    store: Path,
    name: str,
    model: str,
    facts: Mapping[str, Any] = {},
    *,
    rows: str = "r",
    bits: Sequence[float] = (),
    exact: Sequence[Sequence[bool]] = (),
    temperature: float = 0,
) -> None:
    """An evaluation, made of rows with these bits per byte and of holes whose completions passed or not."""
    base = find(store, "pretrain").manifest.config
    config = {**base, "task": {"holes": {"kind": "fim_exact", "temperature": temperature}, "none": None}}
    generations = made(store, "generate", f"g{name}", {"model": model, "rows": rows}, config=config)
    # 4 bytes a token
    lines = [{"row": n, "nll": 63 * 4 * math.log(2) * value, "tokens": 63} for n, value in enumerate(bits)]
    journal.write(generations.artifact / "rows.jsonl", lines)
    ratio = {"val_loss": 4 * math.log(2), "val_bits_per_byte": 1.0} if bits else {}
    run = made(store, "eval", name, {"generations": f"g{name}"}, facts={**ratio, **facts})
    if exact:
        verdicts = [
            {
                "problem": str(n),
                "sample": s,
                "prompt": f"x\u2028{n}",
                "suffix": "",
                "verdict": "passed" if ok else "failed",
            }
            for n, samples in enumerate(exact)
            for s, ok in enumerate(samples)
        ]
        whole = {"problem": "w", "sample": 0, "prompt": "", "verdict": "passed"}
        journal.write(run.artifact / "generations" / "holes.jsonl", [*verdicts, whole])


BITS = np.random.default_rng(0).normal(1.5, 0.3, 60)
EXACT = [[n % 3 == 0, n % 6 == 0] for n in range(60)]


@pytest.mark.parametrize(
    ("gain", "fim", "expected"),
    [
        (0.05, True, "CORROBORATED"),
        (0.0, True, "FALSIFIED"),
        (-0.05, True, "FALSIFIED"),
        (0.05, False, "FALSIFIED"),
        (0.05, None, "UNTESTED"),
        (-0.05, None, "FALSIFIED"),
    ],
)
def test_distillation_is_judged_pair_by_pair(gain: float, fim: bool | None, expected: str, store: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 60)
    base = find(store, "pretrain").manifest.id
    made(store, "distill", "d", {"init_from": base})
    better = [[True, False] if n % 3 == 1 else found for n, found in enumerate(EXACT)] if fim else EXACT
    measured(store, "eb", base, bits=BITS.tolist(), exact=EXACT if fim is not None else ())
    measured(store, "ed", "d", bits=(BITS - gain + noise).tolist(), exact=better if fim is not None else ())
    judgment = verdict(store, 5)
    assert judgment.verdict == expected, judgment.evidence
    assert judgment.numbers["bits per byte"]["count"] == 60
    assert judgment.numbers["bits per byte"]["mean"] == pytest.approx(float((gain - noise).mean()))
    if fim:
        assert judgment.numbers["FIM holes passed"]["mean"] == pytest.approx(20 / 60 / 2)
    missing = "missing, of the same items in both evaluations: FIM" in judgment.evidence
    assert "60 items" in judgment.evidence and missing == (expected == "UNTESTED")


@pytest.mark.parametrize(
    ("gain", "passed", "expected"),
    [(0.05, 0, "UNTESTED"), (-0.05, 0, "FALSIFIED"), (0.05, 1, "FALSIFIED")],
)
def test_holes_that_neither_model_fills_tell_nothing(gain: float, passed: int, expected: str, store: Path) -> None:
    base = find(store, "pretrain").manifest.id
    made(store, "distill", "d", {"init_from": base})
    measured(store, "eb", base, bits=BITS.tolist(), exact=[[False]] * 48)
    measured(store, "ed", "d", bits=(BITS - gain).tolist(), exact=[[n < passed] for n in range(48)])
    judgment = verdict(store, 5)
    assert judgment.verdict == expected, judgment.evidence
    assert "bits per byte" in judgment.evidence and "missing" not in judgment.evidence
    assert ("FIM holes passed: 0 of 48 items by either" in judgment.evidence) == (passed == 0)


def test_what_was_measured_otherwise_is_not_paired(store: Path) -> None:
    base = find(store, "pretrain").manifest.id
    made(store, "distill", "d", {"init_from": base})
    measured(store, "eb", base, bits=BITS.tolist(), exact=EXACT)
    measured(store, "ed", "d", rows="s", bits=BITS.tolist(), exact=EXACT, temperature=1)
    judgment = verdict(store, 5)
    assert judgment.verdict == "UNTESTED" and "nothing to pair" in judgment.evidence
    measured(store, "ef", "d", bits=(BITS + 0.1).tolist(), exact=EXACT)
    assert verdict(store, 5).verdict == "FALSIFIED" and "eval/x-ef" in verdict(store, 5).evidence


def test_distillation_that_is_not_evaluated_is_not_judged(store: Path) -> None:
    made(store, "distill", "d", {"init_from": find(store, "pretrain").manifest.id})
    assert "is not evaluated" in verdict(store, 5).evidence
    made(store, "distill", "e", {}, created=1e12)
    assert verdict(store, 5, "x-e").verdict == "UNTESTED"
    measured(store, "ed", "d")
    measured(store, "eb", find(store, "pretrain").manifest.id)
    path = store / "eval" / "x-eb" / "artifact" / "generations" / "holes.jsonl"
    path.parent.mkdir()
    for text in ("{}", "{", "1"):
        path.write_text(f"{text}\n")
        with pytest.raises(AlborError, match="a line cannot be read"):
            verdict(store, 5)


def logged(run: Run, *lines: Mapping[str, Any]) -> None:
    (run.directory / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_divergences_are_drawn_and_looked_up(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = verdict(store, 4)
    assert alone.verdict == "CORROBORATED" and "rests on the random pairs alone" in alone.evidence
    assert -1e-7 <= alone.numbers["smallest"] < 1e-9 and alone.numbers["pairs"] == 10_000, "some pairs are near"
    assert LOGGED in Distilled.measures
    run = made(store, "distill", "d", {})
    logged(run, {"step": 1, "divergence": 0.5}, {"step": 2, "divergence": 0.0}, {"step": 3, "loss": 1.0})
    judgment = verdict(store, 4)
    assert judgment.verdict == "CORROBORATED" and "(step 2) over 2 steps" in judgment.evidence
    logged(run, {"step": 1, "divergence": 0.5}, {"step": 2, "divergence": -1e-6})
    assert verdict(store, 4).verdict == "FALSIFIED"
    for broken in (
        lambda student, teacher, *, temperature: student[:, 0],
        lambda s, t, *, temperature: s[:, 0] * np.nan,
    ):
        monkeypatch.setattr(distillation, "kl", broken)
        shutil.rmtree(run.directory, ignore_errors=True)
        assert verdict(store, 4).verdict == "FALSIFIED"


def test_norms_are_drawn(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judgment = verdict(store, 7)
    assert judgment.verdict == "CORROBORATED" and 0 < judgment.numbers["largest"] < 1e-3
    assert judgment == verdict(store, 7), "the same pairs each time"
    for broken in (torch.lerp, lambda a, b, t: a * torch.nan):
        monkeypatch.setattr(merge, "slerp", broken)
        judgment = verdict(store, 7)
        assert judgment.verdict == "FALSIFIED" and not judgment.numbers["largest"] <= 0.01


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ({"batches": 100, "max_difference": 9e-5}, "CORROBORATED"),
        ({"batches": 100, "max_difference": 2e-4}, "FALSIFIED"),
        ({"batches": 20, "max_difference": 0.0}, "UNTESTED"),
        ({"batches": 100, "redrawn_equal": True}, "CORROBORATED"),
        ({"batches": 100, "redrawn_equal": False}, "FALSIFIED"),
        (None, "UNTESTED"),
    ],
)
def test_the_teachers_logits(check: Mapping[str, Any] | None, expected: str, store: Path) -> None:
    made(store, "teacher_logits", "t", {}, facts={"check": check} if check else {})
    assert verdict(store, 6).verdict == expected


def pruned(source: Path, target: Path, share: float, layers: int = 2) -> None:
    tensors = load_file(source / "model.safetensors")
    kept = {name: t for name, t in tensors.items() if not name.startswith("model.layers.1.") or layers == 2}
    for name, tensor in kept.items():
        if name.startswith("model.layers.") and tensor.dim() == 2:
            tensor.view(-1)[: round(share * tensor.numel())] = 0
    save_file(kept, target / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(("share", "expected"), [(0.5, "CORROBORATED"), (0.48, "FALSIFIED"), (0.0, "FALSIFIED")])
def test_sparsity_is_counted_in_the_layers_alone(share: float, expected: str, store: Path, tmp_path: Path) -> None:
    base = find(store, "pretrain")
    run = made(store, "prune", "p", {"model": base.manifest.id})
    pruned(base.artifact, run.artifact, share)
    assert verdict(store, 8).verdict == verdict(store, 8, str(run.artifact)).verdict == expected
    assert verdict(store, 8).numbers["zeros"] == pytest.approx(share * verdict(store, 8).numbers["weights"], abs=14)


def test_a_structured_prune_makes_no_zeros_and_is_left_out(store: Path) -> None:
    base = find(store, "pretrain")
    run = made(store, "prune", "p", {"model": "b"})
    place = made(store, "any", "b", {}).artifact
    shutil.copy(base.artifact / "model.safetensors", place)
    pruned(base.artifact, run.artifact, 0.0, layers=1)
    assert verdict(store, 8).verdict == "UNTESTED"
    (run.artifact / "model.safetensors").write_bytes(b"no")
    with pytest.raises(AlborError, match="cannot be read"):
        verdict(store, 8)


ROWS = {"val_rows": 10, "val_tokens": 5_000}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({**ROWS, "val_ppl": 20.9}, "CORROBORATED"),
        ({**ROWS, "val_ppl": 21.1}, "FALSIFIED"),
        ({**ROWS, "val_rows": 9, "val_ppl": 20.9}, "UNTESTED"),
    ],
)
def test_quantisation(facts: Mapping[str, Any], expected: str, store: Path) -> None:
    made(store, "quantize", "q", {"model": "m"})
    assert verdict(store, 9).verdict == "UNTESTED"
    measured(store, "ex", "m", {**ROWS, "val_ppl": 1.0}, rows="others")
    measured(store, "ea", "m", {**ROWS, "val_ppl": 20.0})
    measured(store, "eb", "q", facts)
    assert verdict(store, 9).verdict == expected


def test_predictions_on_a_releases_own_stages_are_items_of_its_audit(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = find(store, "pretrain")
    runs = [
        made(store, "distill", "d", {"init_from": base.manifest.id}),
        made(store, "teacher_logits", "t", {}, facts={"check": {"batches": 100, "max_difference": 1.0}}),
        made(store, "prune", "p", {"model": base.manifest.id}),
        made(store, "quantize", "q", {"model": base.manifest.id}),
    ]
    shutil.copy(base.artifact / "model.safetensors", runs[2].artifact)
    measured(store, "eb", base.manifest.id, {**ROWS, "val_ppl": 20.0}, bits=BITS.tolist())
    measured(store, "ed", "d", bits=(BITS + 0.1).tolist())
    measured(store, "eq", "q", {**ROWS, "val_ppl": 40.0})
    lineage = (*gather(base).lineage, *runs)
    facts = Facts(runs[-1], lineage, tuple(Store(store).runs()))
    logged(runs[0], {"step": 1, "divergence": -1.0})
    for id_ in ("A-HYP-004", "A-HYP-005", "A-HYP-006", "A-HYP-008", "A-HYP-009"):
        assert ITEMS[id_](facts).verdict == "FAIL", ITEMS[id_](facts)
    assert ITEMS["A-HYP-001"](facts).verdict == "PASS" and ITEMS["A-HYP-007"](facts).verdict == "NOT APPLICABLE"
    merged = replace(facts, lineage=(*facts.lineage, made(store, "merge", "m", {})))
    assert ITEMS["A-HYP-007"](merged).verdict == "PASS"
    monkeypatch.setattr(merge, "slerp", torch.lerp)
    assert ITEMS["A-HYP-007"](merged).verdict == "FAIL"


def test_every_prediction_of_the_specification_is_there() -> None:
    assert sorted(PREDICTIONS) == list(range(1, 10))
