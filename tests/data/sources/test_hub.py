"""Datasets on a Hub that runs in the test: the client is Hugging Face's own, in a process of its own."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from albor.config.schema.sources import HubSource
from albor.data.sources import fingerprint
from tests.data.sources.server import Answer, Request, Server, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
JSON = {"Content-Type": "application/json"}
CLIENT = """
import json, sys
from albor.config.schema.sources import HubSource
from albor.data import sources
from albor.data.errors import DataError
for line in sys.stdin:
    case = json.loads(line)
    limit = case.pop("limit")
    case["paths"] = tuple(case["paths"])
    try:
        tasks = sources.tasks(HubSource(**case), limit=limit, max_characters=10**6)
        found = [(d.text[:6], d.package, d.path, d.licence, d.version) for task in tasks for d in sources.read(task)]
        print(json.dumps({"revision": tasks[0].source.revision, "found": found}))
    except DataError as error:
        print(json.dumps({"error": str(error), "help": error.help}))
"""


ROWS = 90


def parquet() -> bytes:
    """Fifty megabytes in nine row groups."""
    sink = pa.BufferOutputStream()
    rows = {
        "content": [f"{n:06}" * 60_000 for n in range(ROWS)],
        "repo": ["me/x"] * ROWS,
        "other": [os.urandom(200_000)] * ROWS,
    }
    pq.write_table(pa.table(rows), sink, row_group_size=10, compression="none", use_dictionary=False)
    return bytes(sink.getvalue())


FILES = {
    "README.md": b"# A dataset\n",
    "data/train.parquet": parquet(),
    "lines/a.json.gz": gzip.compress(b'{"content": "first", "repo": "me/y"}\n{"content": "second", "repo": "me/z"}\n'),
    "cut/cut.parquet": b"PAR1" + bytes(1000),
}


def entry(path: str) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(FILES[path]), "oid": hashlib.sha1(FILES[path]).hexdigest()}


def tree() -> list[dict[str, Any]]:
    directories = sorted({path.rpartition("/")[0] for path in FILES} - {""})
    return [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in directories] + [
        *map(entry, FILES)
    ]


def hub(request: Request) -> Answer:
    path = unquote(urlsplit(request.path).path)
    if path.startswith(("/api/datasets/me/gated/", "/datasets/me/gated/", "/datasets/me/listed/")):
        return Answer(b"{}", 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to dataset is restricted"})
    path = path.replace("/me/listed/", "/me/set/")
    if found := re.fullmatch("/api/datasets/me/set/revision/(.*)", path):
        if found[1] not in ("main", COMMIT):
            return Answer(b"{}", 404, {"X-Error-Code": "RevisionNotFound"})
        about = {"id": "me/set", "sha": COMMIT, "private": False, "tags": [], "siblings": []}
        return Answer(json.dumps(about).encode(), headers=JSON)
    if path.startswith(f"/api/datasets/me/set/tree/{COMMIT}"):
        return Answer(json.dumps(tree()).encode(), headers=JSON)
    if path.startswith(f"/api/datasets/me/set/paths-info/{COMMIT}"):
        asked = request.body.decode()
        wanted = json.loads(asked)["paths"] if asked.startswith("{") else parse_qs(asked)["paths"]
        return Answer(json.dumps([entry(name) for name in wanted if name in FILES]).encode(), headers=JSON)
    if found := re.fullmatch(f"/datasets/me/set/resolve/{COMMIT}/(.*)", path):
        start, end = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        return Answer(FILES[found[1]][start : end + 1], 206)
    return Answer(b"{}", 401 if path.startswith("/api/datasets") else 404, {"X-Error-Code": "RepoNotFound"})


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving(hub) as server:
        yield server


def reading(
    home: Path, endpoint: str, *cases: HubSource, limit: int | None = None, **environment: str
) -> list[dict[str, Any]]:
    """What the client makes of each source."""
    client = subprocess.run(
        [sys.executable, "-c", CLIENT],
        input="\n".join(json.dumps(asdict(case) | {"limit": limit}) for case in cases),
        env={k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert client.returncode == 0, client.stderr
    return [json.loads(line) for line in client.stdout.splitlines()]


def dataset(*paths: str, **changes: Any) -> HubSource:
    columns = {"text": "content", "package_column": "repo", "licence": "MIT"}
    return HubSource(**{"repository": "me/set", "paths": paths, **columns, **changes})


def test_files_are_streamed_by_ranges_at_one_commit(tmp_path: Path, running: Server) -> None:
    running.requests.clear()
    everything, lines = reading(
        tmp_path,
        running.url,
        dataset("data/*.parquet"),
        dataset("**/a.json.gz", revision=COMMIT),
    )
    assert everything["revision"] == COMMIT
    assert everything["found"] == [
        [f"{n:06}", "me/x", f"data/train.parquet:{n}", "MIT", COMMIT[:12]] for n in range(ROWS)
    ]
    assert lines["revision"] == COMMIT
    assert [found[:3] for found in lines["found"]] == [
        ["first", "me/y", "lines/a.json.gz:0"],
        ["second", "me/z", "lines/a.json.gz:37"],
    ]
    assert {found[4] for found in lines["found"]} == {COMMIT[:12]}
    assert sum(r.path.endswith("/revision/main") for r in running.requests) == 1
    fetched = [r for r in running.requests if "/resolve/" in r.path]
    assert {r.path.rpartition("@")[2].split("/resolve/")[1].split("/")[0] for r in fetched} == {COMMIT}
    assert all("range" in r.headers for r in fetched)


def test_only_what_is_read_is_fetched(tmp_path: Path, running: Server) -> None:
    running.requests.clear()
    (found,) = reading(tmp_path, running.url, dataset("data/*.parquet"), limit=3)
    assert len(found["found"]) == 3
    ranges = [r.headers["range"].removeprefix("bytes=").split("-") for r in running.requests if "/resolve/" in r.path]
    assert sum(int(end) - int(start) + 1 for start, end in ranges) < len(FILES["data/train.parquet"]) * 0.7


def test_what_cannot_be_had_is_told_with_the_way_out(tmp_path: Path, running: Server) -> None:
    missing, gated, listed, zipped, revision, pattern, cut, column, odd = reading(
        tmp_path,
        running.url,
        dataset("*.parquet", repository="me/nothing"),
        dataset("*.parquet", repository="me/gated"),
        dataset("data/*.parquet", repository="me/listed"),
        dataset("lines/*", repository="me/listed"),
        dataset("*.parquet", revision="v9"),
        dataset("*.jsonl"),
        dataset("cut/cut.parquet"),
        dataset("data/*.parquet", text="code"),
        dataset("*.parquet", repository="not a name"),
    )
    assert missing["error"] == "me/nothing@main is not on the Hub, or not for you to see"
    assert "hf auth login" in missing["help"]
    assert gated["error"] == "me/gated@main: access must be granted first"
    assert "huggingface.co/datasets/me/gated" in gated["help"]
    assert listed["error"] == f"me/listed@{COMMIT}, data/train.parquet: access must be granted first"
    assert zipped["error"] == f"me/listed@{COMMIT}, lines/a.json.gz: access must be granted first"
    assert revision["error"] == "me/set@v9 is not on the Hub, or not for you to see"
    assert pattern["error"] == "data.source.paths: no file matches *.jsonl"
    assert "cut/cut.parquet cannot be read as Parquet" in cut["error"]
    assert column["error"] == "data/train.parquet has no column code; it has content, repo, other"
    assert odd["error"] == "not a name@main is not on the Hub, or not for you to see"


def test_offline_it_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        (refused,) = reading(tmp_path, endpoint, dataset("*.parquet"))
        (forbidden,) = reading(tmp_path, endpoint, dataset("*.parquet"), HF_HUB_OFFLINE="1")
    for answer in (refused, forbidden):
        assert answer["error"].startswith("me/set@main: the Hub cannot be read: ")
        assert "HF_HUB_OFFLINE" in answer["help"]


def test_fingerprint_asks_no_network() -> None:
    assert fingerprint(dataset("*.parquet", revision=COMMIT)) == {}
    assert fingerprint(dataset("*.parquet", revision="v1")) == {"revision": "v1"}
