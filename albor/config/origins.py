"""Where a value came from: the override or the file and line that set it. Worked out only when something is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override

from albor.config.location import short
from albor.config.tree import leaves
from albor.config.yaml_files import read_config, read_nodes

if TYPE_CHECKING:
    from albor.config.compose import Composed, Composer


class Origins:
    """Looks a dotted path up in the command line's overrides, then in the merged files, last one first."""

    def __init__(self, composed: Composed, composer: Composer, overrides: Sequence[tuple[str, Override]]) -> None:
        self.composed = composed
        self.composer = composer
        self.overrides = overrides

    def find(self, path: str) -> str | None:
        path = re.sub(r"\[\d+\]", "", path)
        for key, override in reversed(self.overrides):
            if path == key or path.startswith(f"{key}.") or key.startswith(f"{path}."):
                return f"override {override.input_line}"
        parts = path.split(".")
        for file, package in self._files(self.composed.merged):
            inside = parts[len(package) :]
            if parts[: len(package)] == package and (line := self._line(file, inside)):
                return f"{short(file)}:{line}"
        # What nobody set: the place where its section was, or for a whole group its file, is the place to set it.
        return self.find(".".join(parts[:-1])) if len(parts) > 2 else self._chosen(parts[0])

    def set_by(self, group: str) -> Iterator[tuple[str, str]]:
        """Every key that a group's choice sets from the top, itself or by a file of the group that it is made from,
        and where."""
        own = [d for d in self.composed.merged if (d.config_path or "").startswith(f"{group}/") and not d.package]
        found: dict[str, str] = {}
        for file, _ in self._files(own):
            for path, _ in leaves({k: v for k, v in read_config(file)[1].items() if k != "defaults"}):
                key = path.partition("[")[0]
                found.setdefault(key, f"{short(file)}:{self._line(file, key.split('.'))}")
        yield from found.items()

    def _chosen(self, group: str) -> str | None:
        """The file of a group's choice."""
        choice = self.composed.choices.get(group)
        file = self.composer.file(group, choice) if choice else None
        return short(file) if file else None

    def _files(self, merged: Sequence[ResultDefault]) -> Iterator[tuple[Path, list[str]]]:
        for default in reversed(merged):
            if default.config_path is None:
                continue
            file = self.composer.file(*default.config_path.rpartition("/")[::2])
            if file is not None:
                yield file, default.package.split(".") if default.package else []

    @staticmethod
    def _line(file: Path, parts: list[str]) -> int | None:
        _, node = read_nodes(file)
        line = None
        for part in parts:
            if not isinstance(node, yaml.MappingNode):
                return None
            hit = next(((k, v) for k, v in node.value if k.value == part), None)
            if hit is None:
                return None
            line, node = hit[0].start_mark.line + 1, hit[1]
        return line
