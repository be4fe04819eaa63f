"""The store: runs by name, damage, disk errors, and who holds a run."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import pytest

from albor.errors import AlborError
from albor.runs.manifest import FileRef, save
from albor.runs.store import Run, Store, exclusive, holder, lives, outputs_of

from .samples import manifest


def put(root: Path, stage: str, label: str, id_: str, created: float = 0.0) -> Path:
    directory = root / stage / f"{label}-{id_}"
    directory.mkdir(parents=True)
    save(directory, manifest(stage=stage, label=label, id=id_, created=created))
    return directory


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def told(error: pytest.ExceptionInfo[AlborError]) -> tuple[str, str | None, str | None]:
    return error.value.cause, error.value.help, error.value.place


def test_damage_is_told_by_sizes(tmp_path: Path) -> None:
    files = {"a/b": FileRef(sha256="?", bytes=1234567), "c": FileRef(sha256="?", bytes=1)}
    run = Run(tmp_path, manifest(files=files))
    assert run.artifact == tmp_path / "artifact"
    (run.artifact / "a").mkdir(parents=True)
    (run.artifact / "c").write_bytes(b"x")
    assert run.damage() == "a/b is missing"
    (run.artifact / "a" / "b").write_bytes(b"x" * 1234)
    assert run.damage() == "a/b has 1,234 bytes instead of 1,234,567"
    with (run.artifact / "a" / "b").open("wb") as file:
        file.truncate(1234567)
    assert run.damage() is None
    (run.artifact / "c").write_bytes(b"")
    assert run.damage() == "c has 0 bytes instead of 1"
    assert Run(tmp_path, manifest()).damage() is None


def test_a_run_keeps_its_directory_whatever_its_label(root: Path) -> None:
    put(root, "pack", "one-two", "aaaa00000000")
    (root / "pack" / "nodash").mkdir()
    (root / "pack" / "file-bbbb00000000").write_text("")
    store = Store(root)
    assert store.directory("pack", "new", "aaaa00000000") == root / "pack" / "one-two-aaaa00000000"
    assert store.directory("pack", "new", "bbbb00000000") == root / "pack" / "new-bbbb00000000"
    assert store.directory("pack", "new", "nodash") == root / "pack" / "new-nodash"
    assert store.directory("train", "new", "aaaa00000000") == root / "train" / "new-aaaa00000000"
    put(root, "pack", "late", "cccc00000000")
    assert store.directory("pack", "new", "cccc00000000").name == "new-cccc00000000", "listed once"


def test_a_file_in_the_place_of_a_stage_holds_no_runs(root: Path) -> None:
    root.mkdir()
    (root / "pack").write_text("")
    assert Store(root).directory("pack", "x", "aa") == root / "pack" / "x-aa"


def test_a_run_by_its_directory(root: Path) -> None:
    directory = put(root, "pack", "x", "aaaa00000000")
    found = Store(root).get(directory)
    assert found is not None and found.directory == directory and found.manifest.label == "x"
    assert Store(root).get(root / "pack") is None


def test_runs_are_listed_from_the_oldest(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for created, id_ in ((2.0, "bb"), (1.0, "cc"), (3.0, "aa")):
        put(root, "pack" if created < 3 else "train", "x", id_, created)
    damaged = put(root, "pack", "x", "dd")
    (damaged / "manifest.yaml").write_text("schema: 2")
    assert [run.manifest.id for run in Store(root).runs()] == ["cc", "bb", "aa"]
    assert Store(root).runs()[0].directory == root / "pack" / "x-cc"
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[0] == f"left out: {damaged}: a manifest of schema 2; this albor reads 1"
    assert Store(root / "nothing").runs() == []


def test_names_of_a_run(root: Path) -> None:
    directory = put(root, "pack", "one-two", "aaaa00000000")
    put(root, "train", "aaaa", "bbbb00000000")
    store = Store(root)
    names = ("aaaa", "a", "one-two-aaaa00000000", "pack/one-two-aaaa00000000", str(directory), f"{directory}/artifact")
    for name in names:
        assert store.find(name).directory.resolve() == directory.resolve(), name
        assert store.find(name).manifest.id == "aaaa00000000"
    assert store.find("outputs/pack/one-two-aaaa00000000").directory == Path("outputs/pack/one-two-aaaa00000000")


def test_only_an_artifact_stands_for_its_run(root: Path) -> None:
    directory = put(root, "pack", "x", "aaaa00000000")
    (directory / "logs").mkdir()
    with pytest.raises(AlborError) as error:
        Store(root).find(str(directory / "logs"))
    assert told(error) == (
        f"{directory}/logs is no run: it holds no manifest.yaml",
        "give a run's directory, as outputs/pretrain/…, or its name",
        f"{directory}/logs",
    )


def test_a_directory_that_somebody_renamed_is_found_by_its_name(root: Path) -> None:
    put(root, "pack", "x", "aaaa00000000").rename(root / "pack" / "mine")
    assert Store(root).find("mine").manifest.id == "aaaa00000000"
    assert Store(root).find("mi").directory == root / "pack" / "mine"


def test_a_name_of_several_runs(root: Path) -> None:
    put(root, "train", "y", "aab0")
    put(root, "pack", "x", "aaa0")
    with pytest.raises(AlborError) as error:
        Store(root).find("aa")
    assert told(error) == ("'aa' names 2 runs: pack/x-aaa0, train/y-aab0", "give more of the id", str(root))


@pytest.mark.parametrize(
    ("name", "cause", "fix"),
    [
        ("x-aaa1", "there is no run 'x-aaa1'", "did you mean x-aaa0? `albor runs` lists them"),
        ("else", "there is no run 'else'", "`albor runs` lists them; outputs=DIR names another store"),
        (
            "out/else",
            "there is no run or directory 'out/else'",
            "`albor runs` lists them; outputs=DIR names another store",
        ),
    ],
)
def test_a_name_of_no_run(name: str, cause: str, fix: str, root: Path) -> None:
    put(root, "pack", "x", "aaa0")
    with pytest.raises(AlborError) as error:
        Store(root).find(name)
    assert told(error) == (cause, fix, str(root))


def test_the_store_of_verbs_that_compose_nothing(tmp_path: Path) -> None:
    assert outputs_of([]) == Path("outputs")
    (tmp_path / "b=c").mkdir()
    assert outputs_of(["outputs=a", f"outputs={tmp_path}/b=c"]) == tmp_path / "b=c"
    assert outputs_of(["outputs=nowhere"], there=False) == Path("nowhere")


@pytest.mark.parametrize("text", ["outputs=", "outputs", "stage=pack", "=x"])
def test_other_words_do_not_concern_it(text: str) -> None:
    with pytest.raises(AlborError) as error:
        outputs_of(["outputs=a", text])
    fix = "only outputs=DIR does; `albor runs STAGE` lists one stage"
    assert told(error) == (f"`{text}` does not concern the runs in the store", fix, None)


def test_a_run_that_is_held(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "run"
    assert holder(directory) is None
    with exclusive(directory):
        assert (directory / ".lock").read_text() == str(os.getpid())
        with pytest.raises(AlborError) as error, exclusive(directory):
            pass
        cause = f"another process (pid {os.getpid()}) is working on this run"
        assert told(error) == (cause, "wait for it, or stop it", str(directory))
        assert holder(directory) == os.getpid()
        (directory / ".lock").write_text("")
        assert holder(directory) is None
        with pytest.raises(AlborError, match=re.escape("(pid unknown)")), exclusive(directory):
            pass
    (directory / ".lock").write_text("123456789123456789 and more")
    with exclusive(directory):
        assert holder(directory) == os.getpid()
    assert holder(directory) == os.getpid(), "who held it last"


@pytest.mark.usefixtures("other_encoding")
def test_the_holder_is_read_whatever_the_encoding(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_bytes(b"4242")
    assert holder(tmp_path) == 4242


@pytest.mark.parametrize(
    ("answer", "alive"), [(None, True), (PermissionError(), True), (ProcessLookupError(), False)], ids=str
)
def test_whether_the_holder_lives(
    answer: Exception | None, alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def kill(pid: int, number: int) -> None:
        asked.append((pid, number))
        if answer:
            raise answer

    monkeypatch.setattr(os, "kill", kill)
    here, there = ({"environment": {"host": name}} for name in (platform.node(), "elsewhere"))
    assert lives(tmp_path, manifest(**here)) is None, "nobody ever held it"
    (tmp_path / ".lock").write_text("4242")
    assert lives(tmp_path, manifest(**there)) is None and lives(tmp_path, manifest()) is None
    assert asked == [], "a process of another machine is not looked for here"
    assert lives(tmp_path, manifest(**here)) is alive
    assert asked == [(4242, 0)]
