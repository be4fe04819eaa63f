"""The reference's pages of the config's keys, a page for each section."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache

from albor.cli.verbs.explain import show
from albor.config.docstrings import field_docs
from albor.config.location import conf_directory, options
from albor.config.schema.config import Config
from albor.plan.keys import Key, by_path, walk, walk_sweep
from albor.stages import base as stages
from docs_site.markdown import anchor, cell, text

KEYS = "reference/keys"
GENERAL = "general"
"""The page of the keys that are in no section."""
SWEEPS = "hydra"
EMPTY = "''"


@cache
def key_pages() -> dict[str, tuple[str, list[Key]]]:
    """Place of the page to its section and keys, those of variants and of mappings' entries included."""
    sections: dict[str, list[Key]] = defaultdict(list)
    for key in walk(Config, entries=True):
        if key.path != "stage":
            section = key.path.partition(".")[0]
            sections[section if "." in key.path else GENERAL].append(key)
    sections[SWEEPS] = list(walk_sweep())
    names = sorted(sections, key=lambda name: (name != GENERAL, name))
    return {f"{KEYS}/{name}.md": (name, sections[name]) for name in names}


def key_page(section: str, found: list[Key]) -> str:
    if section == GENERAL:
        head = "# top level\n\nKeys that are in no section."
    elif section == SWEEPS:
        head = "# hydra\n\nHow a sweep (`-m`) finds its points, and where these run: [sweeps](../../sweeps.md)."
    else:
        doc = " ".join((_section_doc(section)).split())
        head = f"# {section}\n\n{doc}"
        if section in options([conf_directory()]):
            head += f" Choices of the group: [`{section}`](../groups.md#{anchor(section)})."
    return "\n\n".join([head, *key_entries(found, read_by)]) + "\n"


def _section_doc(section: str) -> str:
    return text(field_docs(Config).get(section, ""), f"the section {section}")


def key_entries(found: Iterable[Key], readers: Callable[[str], str] | None) -> list[str]:
    """A heading and a few lines for each path; what variants of a union say otherwise is said of each."""
    paths: dict[str, list[Key]] = defaultdict(list)
    for key in found:
        paths[key.path].append(key)
    return [key_entry(path, variants, readers) for path, variants in paths.items()]


def key_entry(path: str, variants: list[Key], readers: Callable[[str], str] | None) -> str:
    short = path.partition(".")[2] or path
    lines = [f"### `{path}` {{: #{anchor(path)} data-toc-label='{short}' }}"]
    by_text: dict[str, list[Key]] = defaultdict(list)
    for key in variants:
        by_text[text(key.help, f"the key {key.path} of {key.owner}")].append(key)
    for about, same in by_text.items():
        key = by_path(same)[path]
        default = "must be given" if key.required else f"default `{show(key.default) or EMPTY}`"
        said = [cell(key.type), default, *([readers(path)] if readers else [])]
        section = path.rpartition(".")[0]
        kinds = {kind: None for one in same for kind in kinds_of().get(section, {}).get(one.owner, ())}
        some = 0 < len(kinds) < len(kinds_of().get(section, {})) and not path.endswith(".kind")
        of = f" Where `kind` is {', '.join(f'`{kind}`' for kind in kinds)}." if some else ""
        lines += [" · ".join(part for part in said if part) + "\n{: .type }", f"{cell(about)}{of}"]
    return "\n\n".join(lines)


@cache
def kinds_of() -> dict[str, dict[str, tuple[str, ...]]]:
    """What `kind` says where a section may be of several schemas: path of the section to schema to that."""
    found: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for key in (k for _, keys in key_pages().values() for k in keys if k.path.endswith(".kind") and len(k.values) == 1):
        found[key.path.removesuffix(".kind")][key.owner] = key.values
    return found


def read_by(path: str) -> str:
    """Which stages' results depend on a key."""
    path = path.partition(".NAME")[0]
    found = [name for name in stages.names() if stages.find(name).reads_key(path)]
    if stages.is_recorded(path) or not found:
        return "" if path == "inputs" else "changes no result"
    return "read by " + ", ".join(f"[{name}](../stages.md#{name})" for name in found)
