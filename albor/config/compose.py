"""Composition by Hydra's own defaults lists, without the parts of Hydra that a target does not need.

Hydra composes 75 ms a config because it also composes itself each time. Here its loader runs over our search path
alone, once per distinct set of group choices; a test holds the result against ``hydra.compose``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
from hydra._internal.defaults_list import Overrides
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.default_element import InputDefault, ResultDefault
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from albor.config.location import options, search_directories, short
from albor.config.overrides import SEVERAL, parse
from albor.config.problems import ConfigRefused, Problem
from albor.config.suggest import nearest
from albor.config.tree import guard_environment
from albor.config.yaml_files import FileConfigSource, read_config

ROOT = "_root"
"""The file that composition begins with."""


@dataclass(frozen=True)
class Composed:
    """A composed config before value overrides: plain data with interpolations kept as text, the choice of every
    group, and the files in the order in which they were merged."""

    tree: dict[str, Any]
    choices: dict[str, str | None]
    merged: tuple[ResultDefault, ...]
    hydra: dict[str, Any]
    """The files' ``hydra`` node: the launcher, the sweeper and its parameters."""
    overridden: frozenset[str] = frozenset()
    """Groups whose default a file overrides, and no choice given here does."""


def lazily(make: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Of every file Hydra makes a config of all choices there are, for interpolations in its defaults list to read,
    which took half of a composition. Now it makes one where there is an interpolation."""
    nothing = OmegaConf.create()

    def made(overrides: Overrides, listed: list[InputDefault], self_added: bool) -> DictConfig:
        needed = any(not one.is_self() and one.is_interpolation() for one in listed)
        return make(overrides, listed, self_added) if needed else nothing

    return made


defaults_list._create_interpolation_map = lazily(defaults_list._create_interpolation_map)


class Copies(CachingConfigRepository):
    """Files that were read before, for Hydra to merge. What belongs below a section it copies to there; into what does
    not (``top``: such files' names) it would merge the files that follow."""

    def __init__(self, files: CachingConfigRepository, top: Set[str | None]) -> None:
        self.delegate, self.top = files, top

    def load_config(self, config_path: str) -> ConfigResult | None:
        found = self.delegate.load_config(config_path)
        return replace(found, config=copy.deepcopy(found.config)) if found and config_path in self.top else found

    def get_schema_source(self) -> ConfigSource:
        return NoSchemas()


class NoSchemas(StructuredConfigSource):
    """Hydra would hold a file against a schema of its own that happens to have the file's name."""

    def __init__(self) -> None:
        super().__init__("schema", "structured://")

    def load_config(self, config_path: str) -> ConfigResult:
        raise ConfigLoadError


class Composer:
    """Composes configs from ``conf/`` and, before it, the user's own directories: a file of theirs with the name of
    one of ours takes its place."""

    def __init__(self, search_path: Sequence[str] = ()) -> None:
        self.directories = search_directories(search_path)
        guard_environment()
        registry = SourcesRegistry.instance()
        registry.register(FileConfigSource)
        registry.register(StructuredConfigSource)
        path = ConfigSearchPathImpl()
        for directory in self.directories:
            path.append("conf", f"file://{directory}")
        path.append("schema", "structured://")
        self.loader = ConfigLoaderImpl(config_search_path=path)
        self._files = CachingConfigRepository(self.loader.repository)
        self._composed: dict[tuple[tuple[str, str], ...], Composed] = {}

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Group name to the names of its choices, over all directories."""
        return options(self.directories)

    def file(self, group: str, choice: str) -> Path | None:
        """The file of a choice; the user's before ours."""
        paths = (d / group / f"{choice}.yaml" for d in self.directories)
        return next((p for p in paths if p.is_file()), None)

    def used(self, texts: Sequence[str]) -> set[Path]:
        """The files that were merged for these choices, ``group=choice`` each, or refused to be."""
        try:
            merged = self.compose(dict(t.split("=", 1) for t in texts)).merged
        except ConfigRefused:
            return {f for t in texts if (f := self.file(*t.split("=", 1))) is not None}
        files = {self.file(*d.config_path.partition("/")[::2]) for d in merged if d.config_path}
        return {f for f in files if f is not None}

    def compose(self, choices: Mapping[str, str | None]) -> Composed:
        """The config with these choices in place of the defaults. Raises ConfigRefused."""
        given = {g: c for g, c in choices.items() if c is not None}
        key = tuple(sorted(given.items()))
        if key not in self._composed:
            made = self._from_sibling(given) or self._compose([f"{g}={c}" for g, c in key])
            with_stage = tuple(sorted((given | {"stage": str(made.choices["stage"])}).items()))
            self._composed[key] = self._composed[with_stage] = made
        return self._composed[key]

    def _from_sibling(self, given: dict[str, str]) -> Composed | None:
        """A config that differs from a composed one in a stage whose YAML holds nothing but ``stage.*`` keys: the
        same tree with another ``stage`` section, in a thousandth of the time."""
        stage = given.get("stage")
        if stage is None or "experiment" in given or "debug" in given or not self._is_local(stage):
            return None
        rest = {g: c for g, c in given.items() if g != "stage"}
        for key, made in self._composed.items():
            sibling = str(made.choices["stage"])
            if {g: c for g, c in key if g != "stage"} == rest and self._is_local(sibling):
                file = self.file("stage", stage)
                assert file is not None
                merged = tuple(
                    replace(d, config_path=f"stage/{stage}") if d.config_path == f"stage/{sibling}" else d
                    for d in made.merged
                )
                tree = made.tree | {"stage": read_config(file)[1]}
                return Composed(tree, made.choices | {"stage": stage}, merged, made.hydra)
        return None

    def _is_local(self, stage: str) -> bool:
        file = self.file("stage", stage)
        if file is None:
            return False
        text, data = read_config(file)
        return "@package" not in text[:512] and "defaults" not in data

    def _compose(self, overrides: list[str]) -> Composed:
        version.setbase("1.3")  # before 1.2 a defaults list could not name a choice of hydra/launcher
        try:
            defaults = defaults_list.create_defaults_list(
                repo=self._files,
                config_name=ROOT,
                overrides_list=[parse(o) for o in overrides],
                prepend_hydra=False,
                skip_missing=False,
            )
            files = Copies(self._files, top={d.config_path for d in defaults.defaults if not d.package})
            config = self.loader._compose_config_from_defaults_list(defaults=defaults.defaults, repo=files)
        except MissingConfigException as error:
            raise ConfigRefused([self._missing_choice(error, overrides)]) from None
        except ConfigRefused:
            raise
        except (HydraException, OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
            # Hydra raises plain errors for malformed defaults lists; the first lines are the cause.
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            cause = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
            where = self._named_file(str(error))
            raise ConfigRefused([Problem("E-YAML", "composition", cause, "correct the file", where)]) from None
        tree = OmegaConf.to_container(config, resolve=False)
        assert isinstance(tree, dict)
        hydra = tree.pop("hydra", {})
        choices = {g: c for g, c in defaults.overrides.known_choices.items() if not g.startswith("hydra/")}
        # Hydra does not tell of groups of which several choices are taken.
        several = defaults.overrides.override_choices.get(SEVERAL)
        if isinstance(several, list):
            choices[SEVERAL] = f"[{','.join(several)}]"
        overridden = frozenset(g for g, m in defaults.overrides.override_metadata.items() if not m.external_override)
        return Composed(tree, choices, tuple(defaults.defaults), hydra, overridden)  # type: ignore[arg-type]

    def _missing_choice(self, error: MissingConfigException, overrides: list[str]) -> Problem:
        missing = (error.missing_cfg_file or "").strip("/")
        group = next((g for g in self.groups if missing.startswith(f"{g}/")), None)
        where = self._named_file(str(error))
        if group is None:
            return Problem("E-YAML", missing, f"there is no config '{missing}'", "correct the defaults list", where)
        choice = missing.removeprefix(f"{group}/")
        return self.bad_choice(group, choice, self._asker(group, choice, overrides) or where)

    def _asker(self, group: str, choice: str, overrides: list[str]) -> str | None:
        """The file and line, among those chosen, whose defaults list asks for a choice: Hydra names the primary
        config instead."""
        asked = re.compile(rf"\b{re.escape(group)}:\s*['\"]?{re.escape(choice)}['\"]?\s*([,\]}}].*)?$")
        for file in filter(None, (self.file(*o.split("=", 1)) for o in overrides)):
            for number, line in enumerate(read_config(file)[0].splitlines(), 1):
                if asked.search(re.sub(r"(^|\s)#.*", "", line)):
                    return f"{short(file)}:{number}"
        return None

    def _named_file(self, message: str) -> str | None:
        """Hydra's messages say "In 'experiment/x': …", or without the quotes, when a file is at fault."""
        named = re.search(r"\b[Ii]n (?:'([^']+)'|(\w[\w.-]*/[\w./-]*\w))", message)
        if named is None:
            return None
        name = named[1] or named[2]
        file = self.file(*name.rpartition("/")[::2])
        return short(file) if file else f"{name}.yaml"

    def bad_choice(self, group: str, choice: str, origin: str | None) -> Problem:
        known = self.groups[group]
        guess = nearest(choice, known)
        listed = f"the choices are {', '.join(known)}"
        fix = f"did you mean `{group}={guess}`? {listed[0].upper()}{listed[1:]}" if guess else listed
        return Problem("E-CHOICE", group, f"'{choice}' is not a choice of {group}", fix, origin)
