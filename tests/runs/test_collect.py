"""What `albor gc` frees: never what a kept run needs, and all else at once."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.errors import AlborError
from albor.runs import manifest, sweeps
from albor.runs.collect import Graph, Rules, decide, named, size_of
from albor.runs.lineage import chain
from albor.runs.manifest import InputRef, Status
from albor.runs.store import LOCK, Store
from albor.runs.trash import TRASH, Item, discard, free

from .stores import DAY, NOW, age, put, reference

TARGETS = ("pretrain", "eval")
RULES = Rules(days=30, is_target=lambda made: made.stage in TARGETS, surplus=lambda run: (), now=NOW)
ELSE = "pretrain/some-other-target"


def collected(root: Path, rules: Rules = RULES) -> dict[str, str]:
    """What would be freed, by its path, and why."""
    return {str(item.path.relative_to(root)): item.why for item in decide(Graph.of(root), rules)}


def freed(root: Path, items: list[Item]) -> list[str]:
    return [outcome for _, outcome in free(root, items, lambda done, of: None)]


def test_what_somebody_asked_for_is_kept_and_all_it_was_made_from(tmp_path: Path) -> None:
    corpus = put(tmp_path, "prepare", "a0", group=ELSE)
    rows = put(tmp_path, "pack", "b0", group=ELSE, inputs={"documents": corpus})
    put(tmp_path, "pretrain", "c0", group=ELSE, inputs={"rows": rows})
    put(tmp_path, "pack", "d0", label="asked")  # its own target
    put(tmp_path, "pack", "e0", group=ELSE, inputs={"documents": corpus})
    assert collected(tmp_path) == {"pack/x-e0": "no run that is kept is made from its pack"}


@pytest.mark.parametrize("status", ["planned", "failed", "interrupted", "running"])
def test_what_was_given_up_goes_and_what_only_it_needed(status: Status, tmp_path: Path) -> None:
    corpus = put(tmp_path, "prepare", "a0", group=ELSE)
    old = put(tmp_path, "pretrain", "b0", status, days=31, inputs={"documents": corpus})
    assert list(collected(tmp_path)) == ["prepare/x-a0", "pretrain/x-b0"] or set(collected(tmp_path)) == {
        "prepare/x-a0",
        "pretrain/x-b0",
    }
    assert collected(tmp_path, replace(RULES, days=32)) == {}
    (old / "metrics.jsonl").write_text("{}\n")
    os.utime(old / "metrics.jsonl", (NOW - DAY,) * 2)
    assert collected(tmp_path) == {}, "it wrote yesterday"


def test_what_a_kept_unfinished_run_needs_stays_however_old(tmp_path: Path) -> None:
    corpus = put(tmp_path, "prepare", "a0", "failed", days=400)
    rows = put(tmp_path, "pack", "b0", "planned", days=400, inputs={"documents": corpus})
    put(tmp_path, "pretrain", "c0", "planned", days=1, inputs={"rows": rows})
    assert collected(tmp_path) == {}


def test_a_run_that_a_process_holds_is_left_alone(tmp_path: Path) -> None:
    place = put(tmp_path, "pretrain", "a0", "running", days=99)
    (place / "artifact.partial").mkdir()
    age(place, 99)
    items = decide(Graph.of(tmp_path), RULES)
    assert [item.path for item in items] == [place]
    with (place / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert collected(tmp_path) == {}
        assert freed(tmp_path, items) == ["held"], "it was taken up after gc looked"
        with pytest.raises(AlborError, match="a process is working on this run"):
            named(Graph.of(tmp_path), [Store(tmp_path).find("a0")], RULES, down=False)
    assert freed(tmp_path, items) == ["freed"] and not place.exists()


def test_what_was_taken_up_again_meanwhile_is_left(tmp_path: Path) -> None:
    place = put(tmp_path, "pretrain", "a0", "failed", days=99)
    items = decide(Graph.of(tmp_path), RULES)
    manifest.save(place, manifest.load(place).to("planned"))
    assert freed(tmp_path, items) == ["changed"] and place.exists()


def test_leftovers_of_attempts_go_but_not_what_can_be_gone_on_from(tmp_path: Path) -> None:
    done, halted = put(tmp_path, "pretrain", "a0"), put(tmp_path, "pretrain", "b0", "interrupted", days=2)
    for place in (done, halted):
        for name in ("artifact.partial", "work", "checkpoints/.writing-step-00000004", "checkpoints/step-00000002"):
            (place / name).mkdir(parents=True)
        (place / ".manifest.yaml.abc.tmp").write_text("half")
        (place / "checkpoints" / ".scores.json.abc.tmp").write_text("half")
        age(place, 2)
    (done / ".metrics.tmp").write_text("being written")
    os.utime(done / ".metrics.tmp", (NOW, NOW))
    half = {"artifact.partial", ".manifest.yaml.abc.tmp", "checkpoints/.scores.json.abc.tmp"}
    half |= {"checkpoints/.writing-step-00000004"}
    expected = {f"pretrain/x-a0/{name}" for name in (*half, "work")} | {f"pretrain/x-b0/{name}" for name in half}
    assert collected(tmp_path).keys() == expected
    assert set(freed(tmp_path, decide(Graph.of(tmp_path), RULES))) == {"freed"}
    assert collected(tmp_path) == {} and (halted / "work").exists() and (done / ".metrics.tmp").exists()


def test_surplus_checkpoints_of_finished_runs_go_unless_one_is_an_input(tmp_path: Path) -> None:
    place = put(tmp_path, "pretrain", "a0")
    checkpoint = place / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    rules = replace(RULES, surplus=lambda run: [checkpoint] if checkpoint.exists() and run.directory == place else [])
    assert list(collected(tmp_path, rules)) == ["pretrain/x-a0/checkpoints/step-00000001"]
    ref = InputRef(stage="files", id="files:0", path=str(checkpoint))
    taker = put(tmp_path, "eval", "b0")
    manifest.save(taker, replace(manifest.load(taker), inputs={"model": ref}))
    assert collected(tmp_path, rules) == {}


def test_logs_of_old_sweeps_go_and_their_records_stay(tmp_path: Path) -> None:
    for name in ("old", "new", "held"):
        sweeps.save(tmp_path, sweeps.Sweep(name=name, command="c", created=0.0, points=(), runs=()))
        place = sweeps.folder(tmp_path, name)
        for path in ("logs/a.log", "jobs/b.sh", "study.db"):
            (place / path).parent.mkdir(exist_ok=True)
            (place / path).write_text("x")
        age(place, 31)
    os.utime(sweeps.folder(tmp_path, "new") / "logs" / "a.log", (NOW, NOW))
    with (sweeps.folder(tmp_path, "held") / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        expected = {".sweeps/old/logs", ".sweeps/old/jobs", ".sweeps/new/jobs"}
        assert collected(tmp_path).keys() == expected
        assert set(freed(tmp_path, decide(Graph.of(tmp_path), RULES))) == {"freed"}
    left = {path.name for path in sweeps.folder(tmp_path, "old").iterdir()}
    assert {"sweep.json", "study.db"} <= left and not {"logs", "jobs"} & left


def test_the_points_of_a_sweep_were_asked_for_and_what_they_are_made_of_was_not(tmp_path: Path) -> None:
    corpus = put(tmp_path, "prepare", "a0", group="sweep-1")
    put(tmp_path, "pack", "b0", group="sweep-1", inputs={"documents": corpus})
    put(tmp_path, "prepare", "c0", group="sweep-1")
    put(tmp_path, "pack", "d0", group="a sweep whose record is gone")
    sweeps.save(tmp_path, sweeps.Sweep(name="sweep-1", command="", created=0.0, points=((),), runs=("pack/x-b0",)))
    assert collected(tmp_path).keys() == {"prepare/x-c0"}
    (sweeps.folder(tmp_path, "sweep-1") / sweeps.NAME).write_text("{")
    assert collected(tmp_path) == {}


def test_a_manifest_that_cannot_be_read_keeps_what_it_names_or_everything(tmp_path: Path) -> None:
    rows, other = (put(tmp_path, "pack", id_, group=ELSE) for id_ in ("a0", "b0"))
    newer = put(tmp_path, "pretrain", "c0", "planned", days=99, inputs={"rows": rows})
    path = newer / manifest.NAME
    path.write_text(path.read_text().replace("schema: 1", "schema: 2"))
    assert collected(tmp_path).keys() == {"pack/x-b0"}
    path.write_text("{")
    assert collected(tmp_path) == {} and other.exists()


def test_runs_of_a_store_within_the_store_are_heeded(tmp_path: Path) -> None:
    rows = put(tmp_path, "pack", "a0", group=ELSE)
    put(tmp_path / "again", "pretrain", "b0", inputs={"rows": rows})
    assert collected(tmp_path) == {}


def test_named_runs_go_with_what_only_they_needed(tmp_path: Path) -> None:
    corpus = put(tmp_path, "prepare", "a0", group=ELSE)
    rows = put(tmp_path, "pack", "b0", group=ELSE, inputs={"documents": corpus})
    others = put(tmp_path, "pack", "c0", group=ELSE, inputs={"documents": corpus})
    model = put(tmp_path, "pretrain", "d0", inputs={"rows": rows})
    put(tmp_path, "pretrain", "e0", inputs={"rows": others})
    scores = put(tmp_path, "eval", "f0", inputs={"model": model})
    graph, store = Graph.of(tmp_path), Store(tmp_path)
    with pytest.raises(AlborError, match=r"pretrain/x-d0 is what eval/x-f0 was made from"):
        named(graph, [store.find("d0")], RULES, down=False)
    for chosen, down in ((["d0"], True), (["d0", "f0"], False)):
        items = named(graph, [store.find(name) for name in chosen], RULES, down=down)
        assert {item.path for item in items} == {model, rows, scores}
    assert set(freed(tmp_path, items)) == {"freed"}
    assert not model.exists() and corpus.exists() and others.exists() and collected(tmp_path) == {}


def test_a_link_is_not_followed_and_its_run_not_freed(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere", "pack", "a0", group=ELSE)
    (tmp_path / "store" / "pack").mkdir(parents=True)
    (tmp_path / "store" / "pack" / "x-a0").symlink_to(elsewhere)
    assert collected(tmp_path / "store") == {}


def test_a_stage_that_lies_on_another_disk_has_its_trash_there(tmp_path: Path) -> None:
    disk, store = tmp_path / "disk", tmp_path / "store"
    put(disk, "pack", "a0", group=ELSE)
    store.mkdir()
    (store / "pack").symlink_to(disk / "pack")
    [item] = decide(Graph.of(store), RULES)
    (store / TRASH).mkdir()
    outcome, place = discard(store, item)
    assert outcome == "freed" and place is not None and place.parent.parent == disk / TRASH
    [again] = decide(Graph.of(store), RULES)
    assert again.path == place and freed(store, [again]) == ["freed"] and not place.exists()


def test_a_gc_that_was_killed_leaves_runs_whole_or_gone(tmp_path: Path) -> None:
    for n in range(6):
        put(tmp_path, "pack", f"a{n}", group=ELSE)
    items = decide(Graph.of(tmp_path), RULES)
    for item in items[:3]:
        (tmp_path / TRASH).mkdir(exist_ok=True)
        discard(tmp_path, item)  # and here it is killed
    left = sorted(tmp_path.glob(f"pack/*/{manifest.NAME}"))
    assert len(left) == 3 and all(Store(tmp_path).find(str(p.parent)).damage() is None for p in left)
    again = decide(Graph.of(tmp_path), RULES)
    assert len(again) == 6 and set(freed(tmp_path, again)) == {"freed"}
    assert collected(tmp_path) == {} and not list((tmp_path / TRASH / "freed").iterdir())


def test_files_with_another_name_elsewhere_give_nothing_back(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"x" * 100)
    os.link(tmp_path / "a" / "one", tmp_path / "a" / "two")
    assert size_of(tmp_path / "a") == 100
    os.link(tmp_path / "a" / "one", tmp_path / "outside")
    assert size_of(tmp_path / "a") == 0


HOLD = "import fcntl, sys, time; f = open(sys.argv[1], 'a+'); fcntl.flock(f, 2); print(flush=True); time.sleep(99)"


def test_two_at_once(tmp_path: Path) -> None:
    """The second is told; and when the first dies, the store is free again."""
    place = put(tmp_path, "pack", "a0", group=ELSE)
    items = decide(Graph.of(tmp_path), RULES)
    (tmp_path / TRASH).mkdir()
    command = [sys.executable, "-c", HOLD, str(tmp_path / TRASH / LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(AlborError, match="is working on this store"):
            freed(tmp_path, items)
        other.send_signal(signal.SIGKILL)
    assert place.exists() and freed(tmp_path, items) == ["freed"]
    assert freed(tmp_path, items) == ["gone"]


STAGES = ("prepare", "pack", "pretrain", "eval")
STATES = st.sampled_from(["done", "done", "done", "planned", "failed", "interrupted", "running"])
RUNS = st.lists(
    st.tuples(
        st.sampled_from(STAGES),
        STATES,
        st.sets(st.integers(0, 11), max_size=3),
        st.sampled_from([0, 29, 31, 400]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(RUNS, st.sets(st.integers(0, 11), max_size=2), st.booleans())
def test_nothing_that_a_kept_run_needs_is_freed_and_a_second_gc_finds_nothing(runs, chosen, down) -> None:
    with TemporaryDirectory() as place:
        root = Path(place)
        made: list[Path] = []
        for number, (stage, status, above, days, asked) in enumerate(runs):
            inputs = {str(n): made[n] for n in sorted(above) if n < number}
            group = {} if asked else {"group": ELSE}
            made.append(put(root, stage, f"{number:02x}", status, days=days, inputs=inputs, **group))
        before = {path: manifest.load(path) for path in made}
        store, graph = Store(root), Graph.of(root)
        names = [store.find(str(made[n])) for n in sorted(chosen) if n < len(made)]
        if names:
            try:
                items = named(graph, names, RULES, down=down)
            except AlborError:
                return
            assert {run.directory for run in names} <= {item.path for item in items}
        else:
            items = decide(graph, RULES)
        assert set(freed(root, items)) <= {"freed"}
        gone = {path for path in made if not path.exists()}
        for path in made:
            if path in gone:
                continue
            run = before[path]
            assert manifest.load(path) == run and Store(root).find(str(path)).damage() is None
            needed = {(path / ref.path).resolve().parent for ref in run.inputs.values()}
            assert not needed & {p.resolve() for p in gone}, "a kept run has lost an input"
            list(chain(path))
        if not names:
            for path in gone:
                done, old = before[path].status == "done", NOW - before[path].created > 30 * DAY
                target = before[path].stage in TARGETS or before[path].group != ELSE
                assert not (done and target) and (done or old), before[path]
            assert decide(Graph.of(root), RULES) == []


def test_a_directory_that_never_became_a_run_goes(tmp_path: Path) -> None:
    (tmp_path / "pack" / "x-a0").mkdir(parents=True)
    (tmp_path / "pack" / "x-a0" / LOCK).write_text("12")
    put(tmp_path, "pack", "b0")
    shutil.rmtree(tmp_path / "pack" / "x-b0" / "artifact")
    (tmp_path / "pack" / "x-b0" / manifest.NAME).rename(tmp_path / "pack" / "x-b0" / "kept-by-hand.yaml")
    age(tmp_path / "pack", 31)
    assert collected(tmp_path).keys() == {"pack/x-a0"}


def test_references_are_read_as_the_manifest_has_them(tmp_path: Path) -> None:
    rows = put(tmp_path, "pack", "a0", group=ELSE)
    taker = put(tmp_path, "pretrain", "b0", inputs={"rows": rows})
    assert manifest.load(taker).inputs["rows"] == reference(taker, rows)
    assert Graph.of(tmp_path).takers == {rows.resolve(): {taker.resolve()}}
