"""The playground: one page that asks this server."""

from __future__ import annotations

from functools import cache

from albor.report.shell import document


@cache
def playground() -> bytes:
    """HTML without any other file; its policy lets it speak to the server that it came from, and to nobody else."""
    page = document("playground.html.j2", styles=("playground.css",), scripts=("playground.js", "ready.js"))
    return page.encode()
