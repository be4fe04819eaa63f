"""Publishing, with the Hub's own client, to a Hub that runs in the test."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from albor.models.hub import HubError, refuse_name
from tests.command import albor as process
from tests.data.sources.server import Answer, Request, Server, serving

JSON = {"Content-Type": "application/json"}
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
USER = {"name": "me", "orgs": [{"name": "lab"}]}


@dataclass
class Hub:
    """What a Hub has been sent; ``refused`` gives another answer to requests of some path."""

    files: dict[str, bytes] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    commits: list[tuple[str, str]] = field(default_factory=list)
    """(branch, message)."""
    tokens: set[str] = field(default_factory=set)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    url: str = ""

    def __call__(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        self.tokens.add(request.headers.get("authorization", ""))
        for part, (status, message) in self.refused.items():
            if part in path:
                return Answer(json.dumps({"error": message}).encode(), status, JSON | {"X-Error-Message": message})
        said = self.said(path, request)
        return said if isinstance(said, Answer) else Answer(json.dumps(said).encode(), headers=JSON)

    def said(self, path: str, request: Request) -> Any:
        if path == "/api/whoami-v2":
            return USER
        if path == "/api/repos/create":
            self.made.append(json.loads(request.body))
            return {"url": f"{self.url}/me/model"}
        if path == "/api/models/me/model":
            return Answer(b"{}", 404, {"X-Error-Code": "RepoNotFound"})
        if path.startswith("/upload/"):
            self.stored[path.removeprefix("/upload/")] = request.body
            return {}
        if "/preupload/" in path:
            asked = json.loads(request.body)["files"]
            return {"files": [{"path": f["path"], "shouldIgnore": False, "uploadMode": mode(f["path"])} for f in asked]}
        if path.endswith(".git/info/lfs/objects/batch"):
            there = json.loads(request.body)["objects"]
            return {
                "objects": [{**it, "actions": {"upload": {"href": f"{self.url}/upload/{it['oid']}"}}} for it in there]
            }
        if "/commit/" in path:
            return self.commit(path.rpartition("/")[2], [json.loads(line) for line in request.body.splitlines()])
        return {}

    def commit(self, branch: str, lines: list[dict[str, Any]]) -> dict[str, str]:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.commits.append((branch, value["summary"]))
            elif line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            else:
                self.files[value["path"]] = self.stored[value["oid"]]
        return {"commitUrl": f"{self.url}/me/model/commit/c0ffee", "commitOid": "c0ffee"}


def mode(name: str) -> str:
    return "lfs" if name.endswith((".safetensors", ".gguf")) else "regular"


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    with serving(made) as server:
        assert isinstance(server, Server)
        made.url = server.url
        yield made


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A directory like an exported one."""
    place = tmp_path / "exported"
    place.mkdir()
    (place / "README.md").write_text("---\nlanguage:\n- code\n---\n# A model\n")
    (place / "config.json").write_text("{}")
    (place / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (place / "model-Q8_0.gguf").write_bytes(b"GGUF" * 1000)
    return place


Publish = Callable[..., CompletedProcess[str]]


@pytest.fixture
def publish(tmp_path: Path, hub: Hub, export: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: str, **environment: str) -> CompletedProcess[str]:
        known = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        known |= {"HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN} | environment
        words = ("stage=publish", "stage.repo=me/model", f"inputs.export={export}", "tracking=none", *words)
        return process(*words, cwd=tmp_path, **known)

    return call


def listing(tmp_path: Path) -> dict[str, Any]:
    [path] = tmp_path.glob("outputs/publish/*/artifact/published.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_dry_run_says_what_would_be_pushed_and_asks_nobody(
    publish: Publish, tmp_path: Path, hub: Hub, export
) -> None:
    done = publish(HF_TOKEN="")
    assert done.returncode == 0, done.stderr
    assert hub.tokens == set() and hub.files == {}
    assert 'would push to me/model (private if it is new), branch main, as "albor export files:' in done.stderr
    said = listing(tmp_path)
    there = {path.name: path.read_bytes() for path in export.iterdir()}
    assert {f["name"]: (f["bytes"], f["sha256"]) for f in said["files"]} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in there.items()
    }
    assert said["bytes"] == sum(map(len, there.values())) and said["commit"] is None
    assert all(name in done.stderr for name in there) and "stage.dry_run=false pushes it" in done.stderr


def test_what_is_pushed_is_what_was_exported(publish: Publish, tmp_path: Path, hub: Hub, export: Path) -> None:
    done = publish("stage.dry_run=false")
    assert done.returncode == 0, done.stderr
    assert hub.files == {path.name: path.read_bytes() for path in export.iterdir()}
    assert [(made["organization"], made["name"], made["visibility"]) for made in hub.made] == [
        ("me", "model", "private")
    ]
    [(branch, message)] = hub.commits
    said = listing(tmp_path)
    assert branch == "main" and message == said["message"] and said["commit"].endswith("/commit/c0ffee")
    assert hub.tokens - {""} == {f"Bearer {TOKEN}"}
    for path in (tmp_path / "outputs").rglob("*"):
        assert not path.is_file() or TOKEN not in path.read_text(errors="replace")


@pytest.mark.slow
def test_it_is_done_each_time_it_is_asked_for(publish: Publish, hub: Hub) -> None:
    for _ in range(2):
        assert publish("stage.dry_run=false").returncode == 0
        hub.files.clear()
    assert len(hub.commits) == 2
    planned = publish("stage.dry_run=false", "stage.private=false", "stage.revision=v1")
    assert planned.returncode == 0 and hub.commits[-1][0] == "v1" and hub.made[-1]["visibility"] == "public"


@pytest.mark.parametrize(
    ("path", "status", "message", "code", "said"),
    [
        ("whoami", 401, "Invalid credentials", 2, "the token is not valid"),
        pytest.param("repos/create", 403, "no rights here", 2, "no rights here", marks=pytest.mark.slow),
        pytest.param("repos/create", 400, "a bad name", 2, "a bad name", marks=pytest.mark.slow),
        pytest.param(
            "preupload", 404, "no such branch", 2, "check stage.repo and stage.revision", marks=pytest.mark.slow
        ),
        ("/commit/", 400, '"license" must be one of', 2, "stage.licence"),
        pytest.param("/commit/", 409, "changed meanwhile", 1, "the same command again", marks=pytest.mark.slow),
        pytest.param("/commit/", 503, "overloaded", 1, "whether the Hub is ill", marks=pytest.mark.slow),
        ("/upload/", 403, "expired", 2, "(403)"),
    ],
)
def test_what_the_hub_refuses_is_named(
    publish: Publish, hub: Hub, path: str, status: int, message: str, code: int, said: str
) -> None:
    hub.refused[path] = (status, message)
    done = publish("stage.dry_run=false")
    assert done.returncode == code and "error[E-HUB]" in done.stderr and said in done.stderr, done.stderr
    assert f"({status})" in done.stderr and "Traceback" not in done.stderr and hub.files == {}


def test_what_is_no_hub_is_named(publish: Publish, hub: Hub) -> None:
    hub.refused["whoami"] = (200, "please log in to this network")
    done = publish("stage.dry_run=false")
    assert done.returncode == 1 and "is not understood: 'name'" in done.stderr and "Traceback" not in done.stderr


def test_nothing_is_built_for_a_hub_that_is_not_there(publish: Publish, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    for environment, said in (
        ({"HF_TOKEN": ""}, "no token for the Hugging Face Hub is known here"),
        ({"HF_ENDPOINT": f"http://127.0.0.1:{port}"}, f"the Hub at http://127.0.0.1:{port} cannot be reached"),
        ({"HF_HUB_OFFLINE": "1"}, "cannot be reached"),
    ):
        done = publish("stage.dry_run=false", **environment)
        assert done.returncode in (1, 2) and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    done = publish("stage.dry_run=false", "stage.repo=others/model")
    assert done.returncode == 2 and "does not belong to others" in done.stderr and "me, lab" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_an_organisation_of_the_user_is_allowed(publish: Publish, hub: Hub) -> None:
    assert publish("stage.dry_run=false", "stage.repo=LAB/model").returncode == 0
    assert hub.made[0]["organization"] == "LAB"


@pytest.mark.parametrize("name", ["model", "a/b/c", "a/b c", "a/-b", "a/b..c", "a/b.git", "a/" + "b" * 97, "é/b"])
def test_a_name_that_is_none_is_refused_in_the_plan(name: str, albor) -> None:
    done = albor("plan", "stage=publish", f"stage.repo='{name}'")
    assert done.code == 2 and "E-HUB" in done.err and "--> stage.repo" in done.err and "ORG/NAME" in done.err


def test_a_name_has_to_be_given(albor) -> None:
    done = albor("stage=publish")
    assert done.code == 2 and "E-MISSING" in done.err and "stage.repo" in done.err


@given(st.text("ab-_./é", min_size=1, max_size=9))
def test_names_are_those_of_the_client(name: str) -> None:
    try:
        validate_repo_id(name)
        valid = name.count("/") == 1
    except HFValidationError:
        valid = False
    try:
        refuse_name(name)
    except HubError:
        assert not valid
    else:
        assert valid


def test_an_export_says_what_it_lacks_before_it_starts(albor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.setattr("albor.stages.export.find_spec", lambda name: None)
    words = ("stage=export", "stage.evaluated=false", "inputs.model=model", "tracking=none")
    for more, package in (((), "gguf"), (("stage.gguf=[q4_k_m]",), "gguf")):
        done = albor(*words, *more)
        assert done.code == 2 and f"the package {package} is not installed" in done.err and "stage.gguf=[]" in done.err
        assert not (tmp_path / "outputs").exists()
    assert "is not installed" not in albor(*words, "stage.gguf=[]").err
