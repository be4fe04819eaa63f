"""Where a lineage begins: the source archives, directories and downloads of a corpus, as its run recorded them."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from albor.runs.lineage import Artifact, Link
from albor.runs.manifest import Manifest
from albor.runs.store import ARTIFACT

ROWS = "sources.json"
SHA256 = re.compile("[0-9a-f]{64}")
FILES = ("benchmarks", "task.", "tokenizer_sha256", "instructions.")
"""Keys of a run's identity, or how they begin, that tell what a file or a download held."""
FEW = 4
"""Licences that are named where there is little room."""


@dataclass(frozen=True)
class Part:
    """A source of a corpus; a corpus that is no mix has one."""

    name: str
    """The source's kind, or its name in a mix."""
    config: Mapping[str, Any]
    identity: Mapping[str, str]
    commit: str | None
    """Of a dataset on the Hub, what its revision was when it was read."""


def parts(run: Manifest) -> list[Part]:
    """The sources of a prepare run."""
    source = run.config["data"]["source"]
    commits = run.facts.get("commits") or {}
    if source["kind"] != "mix":
        return [Part(source["kind"], source, run.identity, commits.get(source["kind"]))]
    return [
        Part(
            name,
            part["source"],
            {key.removeprefix(f"{name}."): v for key, v in run.identity.items() if key.startswith(f"{name}.")},
            commits.get(name),
        )
        for name, part in source["parts"].items()
    ]


def rows(directory: Path) -> list[dict[str, Any]]:
    """What each package gave to a corpus (``SourceRow``); empty when the run's files are gone or cannot be read."""
    try:
        found = json.loads((directory / ARTIFACT / ROWS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def with_sources(found: Sequence[Artifact]) -> list[Artifact]:
    """A lineage with what its first runs were made from before them."""
    whole: list[Artifact] = []
    for artifact in found:
        leaves = list(sources(artifact))
        links = tuple(Link(leaf.stage, leaf.key, leaf.digest) for leaf in leaves)
        whole += [*leaves, replace(artifact, inputs=(*artifact.inputs, *links))]
    return list({artifact.key: artifact for artifact in whole}.values())


def sources(artifact: Artifact) -> Iterator[Artifact]:
    """What a run read that is no input of it: sources of documents, and files that its identity tells."""
    if (run := artifact.run) is None:
        return
    if run.stage == "prepare":
        given = defaultdict(list)
        for row in rows(Path(artifact.key)):
            given[row["source"]].append(row)
        for part in parts(run):
            yield leaf(part, given[part.name], run.id)
    for key, value in run.identity.items():
        if key.startswith(FILES):
            known = SHA256.fullmatch(value) is not None
            yield Artifact(
                key=f"file:{key}:{value}",
                stage="file",
                name=key.removeprefix("task.").removesuffix("_sha256"),
                id=value,
                status="given",
                digest=value if known else None,
                detail="" if known else value,
            )


def leaf(part: Part, given: Sequence[Mapping[str, Any]], id: str) -> Artifact:  # noqa: A002
    """A source as a point of the lineage."""
    digest, over = known_by(part)
    licences = list(dict.fromkeys(row["licence"] or "none" for row in given))
    named = ", ".join(licences[:FEW]) + (f" and {len(licences) - FEW} more" if len(licences) > FEW else "")
    packages = len({row["package"] for row in given})
    documents = sum(row["documents"] for row in given)
    counted = f"{documents:,} documents of {packages:,} packages under {named}" if given else "what it gave is gone"
    return Artifact(
        key=f"source:{id}:{part.name}",
        stage="source",
        name=title(part),
        id=id,
        status="given",
        digest=digest,
        bytes=sum(row["bytes"] for row in given) if given else None,
        detail=f"{counted}; {over}",
        listing=tuple(listing(part, given)),
    )


def title(part: Part) -> str:
    """The source in a few words."""
    source = part.config
    match source["kind"]:
        case "stdlib":
            said = f"{part.identity.get('implementation', '')} {part.identity.get('python', '')}"
        case "local":
            said = ", ".join(source["roots"])
        case "pypi":
            said = f"{len(source['packages']):,} archives"
        case "hub":
            said = f"{source['repository']}@{part.commit or source['revision']}"
        case _:
            said = ", ".join(source["paths"])
    return f"{part.name}: {said}"


def known_by(part: Part) -> tuple[str | None, str]:
    """What tells one content of a source from another, and what that is taken over."""
    source = part.config
    match source["kind"]:
        case "pypi":
            return digest_of(archives(part)), "SHA-256 over the names, versions and SHA-256 of its archives"
        case "hub":
            pinned = part.commit or (source["revision"] if re.fullmatch("[0-9a-f]{40}", source["revision"]) else None)
            return pinned, "the commit on the Hub" if pinned else "its commit was not recorded"
        case "stdlib":
            return None, "known by the interpreter's version"
    return part.identity.get("listing"), "SHA-256 over names, sizes and times"


def archives(part: Part) -> list[str]:
    """The pinned archives of a source, as ``NAME VERSION SHA256``."""
    return sorted(f"{name} {pin['version']} {pin['sha256'].lower()}" for name, pin in part.config["packages"].items())


def digest_of(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def listing(part: Part, given: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each archive or package: name, version, SHA-256 where there is one, licence, documents, bytes."""
    gave: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in given:
        gave[row["package"]].append(row)
    if part.config["kind"] == "pypi":
        for line in archives(part):
            name = re.sub(r"[-_.]+", "-", line.split(" ")[0]).lower()
            yield f"{line}  {what(gave.get(name, []))}"
        return
    for name in sorted(gave):
        version = gave[name][0]["version"]
        yield f"{name}{f' {version}' if version else ''}  {what(gave[name])}"


def what(given: Sequence[Mapping[str, Any]]) -> str:
    if not given:
        return "nothing that passed the filters"
    licences = ", ".join(dict.fromkeys(row["licence"] or "none" for row in given))
    return f"{licences}  {sum(r['documents'] for r in given):,} documents  {sum(r['bytes'] for r in given):,} bytes"
