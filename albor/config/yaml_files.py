"""Reading a config file: fast, bounded, and with a line number for everything that is wrong with it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource as HydraFileConfigSource
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from yaml.constructor import ConstructorError

from albor.config.problems import ConfigRefused, Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_ALIASES = 50
MAX_NODES = 100_000


class Loader(yaml.CSafeLoader):
    """libyaml's parser with the number rules of OmegaConf (1e-3 is a number, dates stay text)."""

    yaml_implicit_resolvers = get_yaml_loader().yaml_implicit_resolvers

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):  # PyYAML's own constructors, of `!!int x` or of a mere `0x_`
            cause = f"'{str(node.value)[:40]}' is no {node.tag.rpartition(':')[2]}"
            raise ConstructorError(None, None, cause, node.start_mark) from None


def refuse(path: Path, line: int | None, cause: str, fix: str | None = None, code: str = "E-YAML") -> ConfigRefused:
    origin = f"{path}:{line}" if line else str(path)
    return ConfigRefused([Problem(code, path.name, cause, fix, origin)])


def line_of(mark: Any) -> int | None:
    return mark.line + 1 if mark is not None else None


def unreadable(path: Path, error: yaml.YAMLError) -> ConfigRefused:
    cause = str(getattr(error, "problem", None) or error).split("\n")[0]
    return refuse(path, line_of(getattr(error, "problem_mark", None)), f"not readable as YAML: {cause}")


def check_events(path: Path, text: str) -> None:
    """Depth and aliases, read off the event stream before anything recursive looks at the file."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > MAX_DEPTH:
            raise refuse(path, line_of(event.start_mark), f"nested deeper than {MAX_DEPTH} levels")
        if aliases > MAX_ALIASES:
            raise refuse(path, line_of(event.start_mark), f"more than {MAX_ALIASES} aliases")


def check_nodes(path: Path, node: yaml.Node, sizes: dict[int, int] | None = None) -> int:
    """Keys given twice, `_target_`, and what aliases unfold to; each node is looked at once. Returns the number of
    nodes with every alias unfolded."""
    sizes = {} if sizes is None else sizes
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise refuse(path, line_of(node.start_mark), "an alias stands inside of what it names")
        return sizes[id(node)]
    sizes[id(node)] = 0  # being looked at
    children = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        check_keys(path, node)
        children = [value for _, value in node.value]
    total = 1 + sum(check_nodes(path, child, sizes) for child in children)
    if total > MAX_NODES:
        raise refuse(path, line_of(node.start_mark), f"its aliases unfold to more than {MAX_NODES:,} values")
    sizes[id(node)] = total
    return total


def check_keys(path: Path, node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise refuse(path, line, "a key is a single word, no list and no mapping")
        name = key.value
        if name in seen:
            raise refuse(
                path, line, f"the key '{name}' is defined twice; first in line {seen[name]}", "keep one of them"
            )
        if name == "_target_":
            cause = "`_target_` is not allowed: YAML never names code to run"
            raise refuse(path, line, cause, "remove it; `albor ls` shows what can be chosen", code="E-TARGET")
        seen[name] = line


def read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise refuse(path, None, f"{size:,} bytes; a config file may have {MAX_BYTES:,}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise refuse(path, None, f"not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise refuse(path, None, f"cannot be read: {error.strerror}", code="E-PATH") from None


@cache
def read_nodes(path: Path) -> tuple[str, yaml.Node | None]:
    """The text of a file and its checked node tree (None when empty); raises ConfigRefused."""
    text = read_text(path)
    try:
        check_events(path, text)
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise unreadable(path, error) from None
    if node is not None:
        check_nodes(path, node)
    return text, node


@cache
def read_config(path: Path) -> tuple[str, Any]:
    """The text of a config file and the plain data in it."""
    text, node = read_nodes(path)
    if node is None:
        return text, {}
    loader = Loader("")
    try:
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise unreadable(path, error) from None
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise refuse(path, 1, "a config file holds a mapping of keys to values")
    defaults = data.get("defaults", [])
    if not isinstance(defaults, list) or not all(isinstance(d, (str, dict)) for d in defaults):
        line = next((k.start_mark.line + 1 for k, _ in node.value if k.value == "defaults"), None)
        raise refuse(path, line, "defaults is a list of GROUP: CHOICE", "defaults: [override /model: tiny]")
    return text, data


class FileConfigSource(HydraFileConfigSource):
    """Hydra's source of config files, reading through the checks above. It carries the name of the class that it
    stands for because Hydra keeps one class per scheme and recognises it by name."""

    def load_config(self, config_path: str) -> ConfigResult:
        path = Path(os.path.realpath(Path(self.path) / self._normalize_file_name(config_path)))
        text, data = read_config(path)
        try:
            config = OmegaConf.create(data)
        except Exception as error:  # OmegaConf names no line: the grammar error of an interpolation, mostly
            raise refuse(path, None, str(error).split("\n")[0], code="E-INTERPOLATION") from None
        header = ConfigSource._get_header_dict(text[:512])
        return ConfigResult(config=config, path=f"file://{self.path}", provider=self.provider, header=header)
