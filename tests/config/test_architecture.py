"""The rooms and who may enter whom (docs/architecture.md): read off the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import albor as package

ROOT = Path(package.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

GROUND = (
    "albor.errors",
    *(f"albor.config.{name}" for name in ("schema", "types", "budget", "schedule", "sizes", "merging", "gguf_layout")),
)
"""The ground floor: every room may stand on it."""
WORKSHOPS = ("data", "models", "training", "transforms", "inference", "evals", "serve", "report")
MAY_ENTER: dict[str, tuple[str, ...]] = {
    "config": (),
    "contracts": ("config",),
    "runs": ("config",),
    "executors": ("runs",),
    "data": ("runs",),
    "models": ("runs",),  # for atomic files
    "training": ("models", "data", "runs"),
    "transforms": ("models",),
    "inference": ("models", "data", "runs"),  # the codec, and the run that a model is of
    "evals": ("inference", "models", "data", "runs"),  # held-out rows and the codec
    "serve": ("inference", "data", "models", "runs", "report"),  # the playground looks like the other pages
    "report": ("data", "runs"),  # a corpus has a card
    "stages": ("config", "contracts", "runs"),
    "audit": ("config", "contracts", "runs", "stages"),
    "exec": ("worker",),
    "worker": ("config", "contracts", "runs", "stages"),
    "plan": ("config", "contracts", "runs", "stages"),
    "cli": ("config", "contracts", "runs", "stages", "plan", "executors"),
    "__main__": ("cli",),
}
LAZILY: dict[str, tuple[str, ...]] = {
    "data": ("executors",),  # for types: a stage hands it one
    "report": ("data",),  # for types: what it shows
    "stages": (*WORKSHOPS, "executors", "audit"),  # an export has a card, which says how its model was judged
    "audit": ("data", "models", "training", "transforms", "evals", "report"),
    "cli": (*WORKSHOPS, "audit"),
    "exec": ("worker",),
    "worker": ("cli",),
}
"""Rooms that may be entered inside a function, or for types only."""
HYDRA = tuple(f"albor/config/{f}.py" for f in ("compose", "overrides", "origins", "tree", "yaml_files"))
HEAVY = ("torch", "lightning", "wandb", "transformers", "pyarrow", "numpy")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(imported module, whether at the top of the file and at run time)."""

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                yield from ((f"{child.module}.{alias.name}", top) for alias in child.names)
            else:
                inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
                typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from visit(child, top and not inside and not typing)

    return visit(ast.parse(path.read_text(encoding="utf-8")), True)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return f"albor/{path.relative_to(ROOT).as_posix()}"


def wrong_arrows(path: Path) -> Iterator[str]:
    room = room_of(path)
    for module, top in imports(path):
        parts = module.split(".")
        if parts[0] != "albor" or len(parts) < 2 or any(f"{module}.".startswith(f"{g}.") for g in GROUND):
            continue
        allowed = (room, *MAY_ENTER[room], *(() if top else LAZILY.get(room, ())))
        if parts[1] not in allowed:
            yield f"{name_of(path)} imports {module}"


def test_no_arrow_points_the_wrong_way() -> None:
    files = [f for f in FILES if room_of(f) not in ("__init__", "errors")]
    assert len(files) > 80
    assert [arrow for f in files for arrow in wrong_arrows(f)] == []


def test_every_room_has_a_row() -> None:
    assert {room_of(f) for f in FILES} - {"__init__", "errors"} <= MAY_ENTER.keys()


def test_a_wrong_arrow_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "models").mkdir()
    bad = tmp_path / "models" / "bad.py"
    bad.write_text("from albor.config.schema.model import Model\ndef f():\n    import albor.stages.base\n")
    assert list(wrong_arrows(bad)) == ["albor/models/bad.py imports albor.stages.base"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_who_knows_hydra_and_wandb(path: Path) -> None:
    name = name_of(path)
    for module, _ in imports(path):
        known = module.split(".")[0]
        if known in ("hydra", "omegaconf"):
            assert name in HYDRA or name.startswith(("albor/plan/", "albor/cli/")), f"{name} imports {module}"
        if known == "wandb":
            assert name == "albor/runs/tracking.py"
        if known == "lightning":
            assert name == "albor/training/lightning.py", f"{name}: it brings transformers along"
        assert known not in ("ray", "submitit"), "optional: executors import them by name"


def test_the_tops_of_stages_are_light() -> None:
    for path in (ROOT / "stages").glob("*.py"):
        assert not [m for m, top in imports(path) if top and m.split(".")[0] in (*HEAVY, "tokenizers", "safetensors")]


def test_no_file_is_over_400_lines() -> None:
    lines = {name_of(f): len(f.read_text(encoding="utf-8").splitlines()) for f in FILES}
    assert {name: n for name, n in lines.items() if n > 400} == {}


LIGHT = (
    ("--help",),
    ("--help", "stage=pretrain"),
    ("ls",),
    ("plan",),
    ("plan", "experiment=original/v1"),
    ("validate", "stage=pretrain"),
    ("validate", "-m", "stage=pretrain", "optim.lr=1e-3,2e-3"),
    ("explain",),
    ("contracts",),
    ("contracts", "--graph", "svg"),
    ("runs",),
    ("fit", "model=350m", "hardware=h200"),
    ("doctor",),
    ("--cfg", "job"),
)
PROBE = f"""
import contextlib, io, sys
from albor.cli.main import run
for words in {LIGHT!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run(list(words))
    heavy = [m for m in {HEAVY!r} if m in sys.modules]
    if heavy:
        sys.exit(f"albor {{' '.join(words)}} imports {{heavy}}")
"""


def test_a_service_and_verdicts_need_no_torch() -> None:
    rooms = "albor.evals.generation, albor.evals.scoring, albor.inference.http"
    probe = f"import sys, {rooms}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", probe], timeout=120, check=True)


def test_looking_at_a_plan_imports_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_training_imports_no_library_for_metrics_that_nobody_computes() -> None:
    """torchmetrics imports them when Lightning imports it: seconds before the first step."""
    probe = "import sys, albor.training.pretrain; assert not {'transformers', 'scipy'} & {*sys.modules}"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
