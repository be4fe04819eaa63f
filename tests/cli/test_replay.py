"""``albor replay`` on a run that was really trained, by processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.command import albor

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("replay")]
RUN = (
    "stage=pretrain",
    "debug=default",
    "tracking=none",
    "data.max_documents=60",
    "trainer.save_every=4",
    "trainer.val_every=4",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of ten steps with checkpoints of the steps 8 and 10."""
    place = tmp_path_factory.mktemp("replay")
    done = albor(*RUN, cwd=place)
    assert done.returncode == 0, done.stderr
    [directory] = (place / "outputs/pretrain").iterdir()
    return directory


def bytes_of(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("step", "verdict", "last"),
    [
        (6, "bit-exact: 6 recorded steps, 1 to 6; no checkpoint of step 6", 6),  # from the start
        (8, "bit-exact: 8 recorded steps, 1 to 8; and the weights of step 8", 8),
        # From the checkpoint of step 8, which is validated again.
        (10, "bit-exact: 3 recorded steps, 8 to 10; and the weights of step 10", 10),
    ],
)
def test_a_run_comes_to_the_same_bits_again(trained, step, verdict, last):
    before, place = bytes_of(trained), trained.parents[2]
    done = albor("replay", trained.name, "--step", str(step), cwd=place)
    assert done.returncode == 0, done.stderr
    assert verdict in done.stdout
    table = [line.split() for line in done.stdout.splitlines() if line.endswith(" equal")]
    assert int(table[-1][0]) == last and all(row[1] == row[2] and row[3] == row[4] for row in table)
    assert f"step {step} read batch {step - 1} of epoch 0: rows " in done.stdout
    assert bytes_of(trained) == before, "the run itself is not touched"
    assert [path.name for path in (place / "outputs").glob(".replay*")] == []


def test_the_first_step_that_differs_is_named(trained):
    path = trained / "metrics.jsonl"
    whole = path.read_text()
    lines = whole.splitlines()
    fifth = next(index for index, line in enumerate(lines) if '"step": 5,' in line and '"loss"' in line)
    torn = lines[fifth].replace('"loss": ', '"loss": 1')
    # As after a resume: the step is there twice, and the later line holds. The last line was torn by a kill.
    path.write_text("\n".join([*lines, torn, lines[-1][:20]]))
    try:
        done = albor("replay", trained.name, "--step", "6", cwd=trained.parents[2])
    finally:
        path.write_text(whole)
    assert done.returncode == 1
    assert "not exact: 1 of 6 recorded steps, 1 to 6; the first is step 5 (loss)" in done.stdout


def test_another_environment_is_said(trained):
    path = trained / "manifest.yaml"
    whole = path.read_text()
    path.write_text(whole.replace("omp_num_threads: ", "omp_num_threads: 7 #"))
    try:
        done = albor("replay", trained.name, "--step", "2", cwd=trained.parents[2])
    finally:
        path.write_text(whole)
    assert done.returncode == 0 and "then 7" in done.stdout


def test_what_cannot_be_replayed_is_refused(trained):
    place = trained.parents[2]
    for words, cause in (
        ((trained.name, "--step", "11"), "step 11 is not among the 10 recorded steps"),
        ((trained.name,), "takes one run and a step"),
        ((next((place / "outputs/pack").iterdir()).name, "--step", "1"), "a pack run does not train"),
    ):
        done = albor("replay", *words, cwd=place)
        assert done.returncode == 2 and cause in done.stderr
