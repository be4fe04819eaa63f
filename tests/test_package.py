"""What is shipped: the wheel holds the configs and works without the checkout; the lock and the malware pin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, unpacked."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)], cwd=HERE, check=True)
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        wheel.extractall(place / "site")
    return place / "site"


@pytest.mark.xdist_group("wheel")
def test_the_wheel_composes_from_its_own_configs(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    code = "import albor, albor.config.location as l; print(albor.__file__); print(l.conf_directory())"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert all(line.startswith(str(installed)) for line in found.stdout.split()), found
    plan = subprocess.run(
        [sys.executable, "-m", "albor", "plan"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert plan.returncode == 0, plan.stderr
    shipped = {p.relative_to(HERE / "conf") for p in (HERE / "conf").rglob("*.yaml")}
    assert {p.relative_to(installed / "albor/conf") for p in (installed / "albor/conf").rglob("*.yaml")} == shipped


@pytest.mark.xdist_group("wheel")
def test_the_wheel_holds_the_report_page(installed: Path) -> None:
    assert {"page.html.j2", "page.css", "chart.js"} <= {p.name for p in (installed / "albor/report").iterdir()}


def test_lightnings_malware_releases_are_excluded() -> None:
    lightning = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "lightning")
    assert "2.6.2" not in lightning.specifier
    assert "2.6.3" not in lightning.specifier
    assert "2.6.6" in lightning.specifier


def test_torch_is_locked_by_version_alone_and_the_rest_by_hash() -> None:
    assert (HERE / "requirements-torch.lock").read_text().split() == ["torch==2.13.0"]
    lock = (HERE / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[a-z])", lock.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    names = {entry.split("==")[0] for entry in entries}
    libraries = {n for n in names if n in ("torch", "triton") or n.startswith(("nvidia-", "cuda-"))}
    assert libraries == {"nvidia-ml-py"}  # asks the driver, and is no part of a CUDA build
    extras = PROJECT["optional-dependencies"]
    wanted = [Requirement(r) for r in (*PROJECT["dependencies"], *extras["dev"], *extras["cluster"])]
    assert {r.name.lower() for r in wanted} - {"torch", "albor"} <= names
