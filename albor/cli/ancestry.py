"""A lineage as text: a tree whose shared parts are shown once and referred to after that."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from albor.cli.render import paint
from albor.config.units import human_bytes
from albor.runs.lineage import Artifact, Link

SHORT = 12
"""Hex digits of a digest that are shown unless all are asked for."""
NONE = "no digest"


def lines(found: Sequence[Artifact], root: str, *, full: bool, down: bool = False) -> Iterator[str]:
    """The tree below ``root``, an ``Artifact.key``: what it was made from, or with ``down`` what was made from it."""
    known = {artifact.key: artifact for artifact in found}
    below = takers(found) if down else {artifact.key: artifact.inputs for artifact in found}
    rows = list(_rows(known[root], known, below, full=full, down=down))
    width = max(len(text) for text, artifact in rows if artifact is not None)
    for text, artifact in rows:
        if artifact is None:
            yield text
        else:
            cells = [text.ljust(width), *columns(artifact, full=full)]
            yield "  ".join(cells).rstrip()


def takers(found: Sequence[Artifact]) -> dict[str, tuple[Link, ...]]:
    """The links of a lineage turned round."""
    turned: dict[str, list[Link]] = {artifact.key: [] for artifact in found}
    for artifact in found:
        for link in artifact.inputs:
            if link.key in turned:
                turned[link.key].append(Link(link.name, artifact.key, link.digest))
    return {key: tuple(links) for key, links in turned.items()}


def _rows(
    root: Artifact, known: Mapping[str, Artifact], below: Mapping[str, Sequence[Link]], *, full: bool, down: bool
) -> Iterator[tuple[str, Artifact | None]]:
    """(line, the artifact whose columns follow it; None of a line that says more of the one above)."""
    shown: set[str] = set()

    def visit(
        artifact: Artifact, link: Link | None, other: Artifact | None, first: str, rest: str
    ) -> Iterator[tuple[str, Artifact | None]]:
        links = below.get(artifact.key, ())
        again = artifact.key in shown and bool(links)
        name = f"{link.name}: " if link is not None and link.name != artifact.stage else ""
        yield f"{first}{name}{label(artifact)}{' (see above)' if again else ''}", artifact
        bar = f"{rest}{'│' if links and not again else ' '}  "
        if link is not None and (said := changed(link, other if down else artifact, full=full)):
            yield f"{bar}{said}", None
        if artifact.key in shown:
            return
        shown.add(artifact.key)
        for line in [*([artifact.detail] if artifact.detail else []), *(artifact.listing if full else ())]:
            yield f"{bar}{printable(line)}", None
        for place, each in enumerate(links):
            last = place == len(links) - 1
            ahead = (f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}")
            yield from visit(known[each.key], each, artifact, *ahead)

    yield from visit(root, None, None, "", "")


def changed(link: Link, made: Artifact | None, *, full: bool) -> str | None:
    """What a link says when its artifact was another at the time it was taken."""
    if made is None or made.digest is None or link.digest in (None, made.digest):
        return None
    assert link.digest is not None
    return f"it was {link.digest if full else link.digest[:SHORT]} when it was taken"


def label(artifact: Artifact) -> str:
    return printable(artifact.title)


def printable(text: str) -> str:
    """One line, whatever it holds."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def columns(artifact: Artifact, *, full: bool) -> list[str]:
    """Digest, size, time and status."""
    digest = artifact.digest or NONE
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(artifact.when)) if artifact.when else ""
    size = human_bytes(artifact.bytes) if artifact.bytes is not None else ""
    status = paint(artifact.status, {"done": "green", "gone": "red"}.get(artifact.status, "yellow"))
    shown = digest if full else digest[:SHORT]
    return [shown.ljust(64 if full else SHORT), size.rjust(9), when.ljust(16), status]


def as_json(found: Sequence[Artifact]) -> list[dict[str, Any]]:
    fields = ("key", "stage", "name", "id", "status", "digest", "bytes", "when", "detail", "listing")
    return [
        {key: getattr(artifact, key) for key in fields} | {"inputs": [vars(link) for link in artifact.inputs]}
        for artifact in found
    ]
