"""Where the YAML lies and what can be chosen from it; imports nothing heavy, because `albor ls` must be instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from albor.config.problems import ConfigRefused, Problem


def conf_directory() -> Path:
    """``conf/``: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def yaml_files(directory: Path) -> Iterator[tuple[str, str, Path]]:
    """(group, choice, file) of every choice below a config directory, sorted."""
    for path in sorted(directory.rglob("*.yaml")):
        parts = path.relative_to(directory).with_suffix("").parts
        depth = 2 if parts[0] == "hydra" else 1  # hydra/launcher, hydra/sweeper
        if len(parts) > depth and not any(p.startswith((".", "_")) for p in parts) and path.is_file():
            yield "/".join(parts[:depth]), "/".join(parts[depth:]), path


def options(directories: Iterable[Path]) -> dict[str, list[str]]:
    """Group to choices over several directories, the shipped order of size last."""
    found: dict[str, set[str]] = {}
    for directory in directories:
        for group, choice, _ in yaml_files(directory):
            found.setdefault(group, set()).add(choice)
    return {group: sorted(choices) for group, choices in sorted(found.items())}


def short(path: Path) -> str:
    """Relative to the working directory when it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def describe(path: Path) -> str:
    """The first comment line of a YAML that is not a directive to Hydra."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            text = line.strip()
            if text and not text.startswith("#"):
                return ""
            if text.startswith("# ") and not text.startswith("# @"):
                return text[2:]
    return ""


def search_directories(search_path: Sequence[str]) -> list[Path]:
    """The user's directories (plain, file:// or pkg://), then ``conf/``, then what is ours of Hydra's own groups, which
    Hydra must not find: it has choices of the same names. Raises ConfigRefused for directories that are not there."""
    found, problems = [], []
    for entry in search_path:
        if entry.startswith("pkg://"):
            import importlib.resources

            try:
                directory = Path(str(importlib.resources.files(entry.removeprefix("pkg://"))))
            except ModuleNotFoundError:
                directory = Path(entry)
        else:
            directory = Path(entry.removeprefix("file://")).expanduser().absolute()
        if directory.is_dir():
            found.append(directory)
        else:
            fix = "create it, or correct --config-dir or hydra.searchpath"
            problems.append(Problem("E-PATH", "search path", f"the config directory {entry} does not exist", fix))
    if problems:
        raise ConfigRefused(problems)
    return [*found, conf_directory(), conf_directory() / "_sweeps"]
