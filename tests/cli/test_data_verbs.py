"""``albor data``: what it shows of a corpus that was really built, and what it refuses."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from albor.cli.completion import answers
from albor.data.card import DataCard
from albor.runs.store import Run, Store
from tests import command
from tests.conftest import Outcome

MODULES = ("json", "textwrap", "argparse", "configparser", "shutil", "zipfile", "csv", "shlex", "calendar", "difflib")
pytestmark = pytest.mark.xdist_group("data verbs")
MARK = re.compile(r"⟦(\w+)(?: × ([\d,]+))?⟧")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare, tokenizer and pack runs of ten packages of one module each."""
    place = tmp_path_factory.mktemp("corpus")
    for name in MODULES:
        package = place / "code" / name
        package.mkdir(parents=True)
        (package / "module.py").write_text(inspect.getsource(__import__(name)), encoding="utf-8")
    words = ["stage=pack", "tracking=none", "data=local", "data.source.roots=[code]", "data.source.licence=PSF-2.0",
             "data.seq_len=256", "data.val_fraction=0.2", "tokenizer.vocab_size=512"]  # fmt: skip
    done = command.albor(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "outputs"


@pytest.fixture
def data(albor: Callable[..., Outcome], store: Path) -> Callable[..., Outcome]:
    """Runs ``albor data WORDS`` on the store."""
    return lambda *words: albor("data", *words, f"outputs={store}")


def packed(store: Path) -> Run:
    return next(r for r in Store(store).runs() if r.manifest.stage == "pack")


def shown_pieces(out: str) -> list[tuple[str, str]]:
    """(form, text with its marks) of every piece that was shown."""
    found = re.split(r"── piece \d+ of \d+ · (plain|PSM|SPM) · [\d,]+ tokens? ──\n", out)
    return list(zip(found[1::2], found[2::2], strict=True))


def test_every_row_is_shown_and_holds_real_code(data, store: Path) -> None:
    facts = packed(store).manifest.facts
    done = data("inspect", packed(store).manifest.id, "--rows", "100000")
    assert done.code == 0
    found = shown_pieces(done.out)
    assert len(found) == facts["pieces"]
    assert sum(form != "plain" for form, _ in found) == facts["fim_pieces"] > 0
    padding = sum(int((count or "1").replace(",", "")) for name, count in MARK.findall(done.out) if name == "PAD")
    rows = facts["num_sequences"] * facts["row_len"]
    assert padding - 1 == rows - facts["tokens"]  # one more is in the legend
    code = "".join(inspect.getsource(__import__(name)) for name in MODULES)
    for form, text in found:
        parts = [part for part in MARK.sub("\0", text.split("\n\n" + "train row")[0]).split("\0") if part.strip()]
        assert form in ("PSM", "SPM", "plain") and parts
        if form == "plain":
            assert parts[0].rstrip("\n") in code


def test_validation_is_never_transformed(data, store: Path) -> None:
    done = data("inspect", str(packed(store).directory), "--split", "val", "--row", "0", "--rows", "100000")
    assert done.code == 0 and {form for form, _ in shown_pieces(done.out)} == {"plain"}
    one = data("inspect", packed(store).manifest.id[:4], "--split", "val", "--row", "1")
    assert one.out.count("val row ") == 1 and "val row 1 of " in one.out


def test_marks_without_a_terminal_and_colours_with_one(data, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = packed(store).manifest.id
    plain = data("inspect", run, "--rows", "9").out
    assert "\033" not in plain
    assert all(f"⟦{name}⟧" in plain for name in ("FIM_PREFIX", "FIM_SUFFIX", "FIM_MIDDLE", "EOS", "PAD"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = data("inspect", run, "--rows", "9").out
    assert "\033[32;1m⟦FIM_MIDDLE⟧\033[0m" in coloured and re.sub(r"\033\[[\d;]*m", "", coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert data("inspect", run, "--rows", "9").out == plain


def test_what_moves_the_cursor_is_shown_as_a_picture() -> None:
    from albor.cli.corpus import shown

    assert shown("a\033[2J\r\n\tb\x7f\x9b") == "a␛[2J␍\n\tb␡\ufffd"


def test_stats_of_a_pack_run(data, store: Path) -> None:
    run = packed(store)
    card = DataCard.from_json(json.loads((run.artifact / "card.json").read_text()))
    assert json.loads(data("stats", run.manifest.id, "--json").out) == card.to_json()
    out = data("stats", run.manifest.id).out
    assert all(name in out for name in MODULES)
    for words in (*(s.name for s in card.steps), *(s.sha256[:12] for s in card.shards), "fim share of pieces"):
        assert words in out
    assert f"{run.manifest.facts['tokens']:,}" in out and "PSF-2.0" in out


def test_stats_of_a_prepare_run_counts_no_tokens(data, store: Path) -> None:
    run = next(r for r in Store(store).runs() if r.manifest.stage == "prepare")
    done = data("stats", run.manifest.id)
    assert done.code == 0 and "tokens" not in done.out and all(name in done.out for name in MODULES)
    loaded = json.loads(data("stats", run.manifest.id, "--json").out)
    documents = sum(row["documents"] for row in loaded["sources"])
    assert documents == loaded["steps"][-1]["kept"] == len(MODULES)


def test_the_largest_sources_or_all() -> None:
    from albor.cli.corpus import TOP, card_lines
    from tests.data.card_example import card

    made = card()
    few, all_ = (
        "\n".join(card_lines(made.steps, made.sources, made.shards, made.facts, everything=e)) for e in (False, True)
    )
    assert f"{len(made.sources) - TOP} more (--all)" in few and "cython-tools" not in few
    assert "more (--all)" not in all_ and all(row.package in all_ for row in made.sources)
    assert card_lines([], [], [], {}, everything=True) == []


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ((), "what to do and one run"),
        (("inspect",), "what to do and one run"),
        (("look", "RUN"), "what to do and one run"),
        (("inspect", "nothere"), "there is no run 'nothere'"),
        (("inspect", "PACK", "--row", "99999"), "there is no row 99999 in train"),
        (("inspect", "PACK", "--row", "-1"), "there is no row -1 in train"),
        (("inspect", "PACK", "--rows", "0"), "--rows 0"),
        (("inspect", "PACK", "--split", "test"), "has no choice"),
        (("inspect", "PACK", "--all"), "--all does not go with `albor data inspect`"),
        (("stats", "PACK", "--row", "3"), "--row does not go with `albor data stats`"),
        (("inspect", "PREPARE"), "a prepare run has no rows"),
        (("stats", "TOKENIZER"), "a tokenizer run has no data card"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], cause: str, data, store: Path) -> None:
    runs = {r.manifest.stage.upper(): r.manifest.id for r in Store(store).runs()}
    done = data(*(runs.get(word, word) for word in words))
    assert done.code == 2 and cause in done.err and "help: " in done.err and done.out == ""


def test_runs_that_are_not_whole(data, albor, store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "outputs", ignore=shutil.ignore_patterns("wandb"))
    run = packed(tmp_path / "outputs")
    (run.artifact / "card.json").unlink()
    for file in run.artifact.glob("val-*"):
        file.unlink()
    done = albor("data", "stats", run.manifest.id)
    assert done.code == 2 and "card.json of this run cannot be read" in done.err
    done = albor("data", "inspect", run.manifest.id, "--split", "val")
    assert done.code == 2 and "there are no val rows" in done.err
    manifest = run.directory / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("status: done", "status: failed"))
    done = albor("data", "stats", run.manifest.id)
    assert done.code == 2 and "this run is failed, not done" in done.err


def test_completion_of_data() -> None:
    assert "data" in answers("albor da")
    assert answers("albor data ") == ["inspect", "stats"]
    assert answers("albor data st") == ["stats"]
    assert answers("albor data inspect --ro") == ["--row", "--rows"]
