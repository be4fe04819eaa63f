"""Ways to spoil a store, each so that one item of the audit must fail."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from albor.data import documents
from albor.data.documents import Document
from albor.data.parquet import shards
from albor.runs import manifest
from albor.runs.checkpoints import DIRECTORY, steps
from albor.runs.manifest import InputRef, Manifest
from albor.runs.store import Run, Store

SECRET = f"token = 'hf_{'AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh'[::-1]}'\n"
Entry = dict[str, Any]
Spoil = Callable[[Path], object]


def find(store: Path, stage: str) -> Run:
    return next(run for run in Store(store).runs() if run.manifest.stage == stage)


def edit(stage: str, change: Callable[[Manifest], dict[str, Any]]) -> Spoil:
    """Changes fields of the manifest of a stage's run."""

    def spoil(store: Path) -> None:
        run = find(store, stage)
        manifest.save(run.directory, replace(run.manifest, **change(run.manifest)))

    return spoil


def fact(stage: str, **facts: Any) -> Spoil:
    return edit(stage, lambda made: {"facts": {**made.facts, **facts}})


def environment(**values: Any) -> Spoil:
    return edit("pack", lambda made: {"environment": {**made.environment, **values}})


def config(stage: str, **values: Any) -> Spoil:
    """Sets keys of the recorded config; two underscores stand for the dot."""

    def change(made: Manifest) -> dict[str, Any]:
        whole = copy.deepcopy(made.config)
        for key, value in values.items():
            *path, leaf = key.split("__")
            section = whole
            for part in path:
                section = section[part]
            section[leaf] = value
        return {"config": whole}

    return edit(stage, change)


def given(stage: str, name: str, **values: str) -> Spoil:
    """Changes what a run recorded of an input."""
    return edit(stage, lambda made: {"inputs": {**made.inputs, name: replace(made.inputs[name], **values)}})


def from_hub(store: Path) -> None:
    ref = InputRef(stage="hub", id="hf:org/name", path="org/name")
    edit("pretrain", lambda made: {"inputs": {**made.inputs, "init_from": ref}})(store)


def artifact(stage: str, name: str, change: Callable[[Path], object]) -> Spoil:
    return lambda store: change(find(store, stage).artifact / name)


def in_json(stage: str, name: str, change: Callable[[Any], None]) -> Spoil:
    def spoil(path: Path) -> None:
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return artifact(stage, name, spoil)


def licence(name: str) -> Spoil:
    return in_json("prepare", "sources.json", lambda rows: rows[0].update(licence=name))


def package_twice(rows: list[Entry]) -> None:
    rows.append({**next(row for row in rows if row["split"] == "train"), "split": "val"})


def rewrite(split: str, change: Callable[[list[Document], Path], Iterator[Document]]) -> Spoil:
    """Writes a split's first file of documents again."""

    def spoil(store: Path) -> None:
        place = find(store, "prepare").artifact
        [path, *_] = shards(place, split)
        documents.write(path, list(change(list(documents.read(path)), place)))

    return spoil


def with_secret(found: list[Document], place: Path) -> Iterator[Document]:
    yield replace(found[0], text=found[0].text + SECRET)
    yield from found[1:]


def with_training_document(found: list[Document], place: Path) -> Iterator[Document]:
    yield next(documents.read(shards(place, "train")[0]))
    yield from found


def altered_document(store: Path) -> None:
    """A text that is not the one its row has the hash of."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    [path, *_] = shards(find(store, "prepare").artifact, "val")
    table = pq.read_table(path)
    texts = ["x = 1\n", *table.column("text").to_pylist()[1:]]
    pq.write_table(table.set_column(0, table.schema.field("text"), pa.array(texts, pa.string())), path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def append(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text() + text)


def not_finite(path: Path) -> None:
    tensors = load_file(path)
    tensors["model.norm.weight"][0] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def checkpoint(name: str, change: Callable[[Path], object]) -> Spoil:
    return lambda store: change(steps(find(store, "pretrain").directory / DIRECTORY)[0] / name)


def more_checkpoints(store: Path) -> None:
    newest = steps(find(store, "pretrain").directory / DIRECTORY)[0]
    for step in (11, 12):
        shutil.copytree(newest, newest.with_name(f"step-{step:08d}"))


def log(change: Callable[[list[Entry]], list[Entry]]) -> Spoil:
    """Writes the metrics of the training run again."""

    def spoil(store: Path) -> None:
        path = find(store, "pretrain").directory / "metrics.jsonl"
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(entry) + "\n" for entry in change(entries)))

    return spoil


def each(key: str, value: Callable[[Entry], Any]) -> Spoil:
    return log(lambda entries: [{**entry, key: value(entry)} if key in entry else entry for entry in entries])


def last(key: str, value: float) -> Callable[[list[Entry]], list[Entry]]:
    def change(entries: list[Entry]) -> list[Entry]:
        at = max(index for index, entry in enumerate(entries) if key in entry)
        return [{**entry, key: value} if index == at else entry for index, entry in enumerate(entries)]

    return change


def again(entries: list[Entry], steps: int, shift: float = 0.0) -> list[Entry]:
    """The last steps once more, as after a resume."""
    trained = [entry for entry in entries if "lr" in entry][-steps:]
    return [*entries, *({**entry, "loss": entry["loss"] + shift} for entry in trained)]


def remove(stage: str) -> Spoil:
    return lambda store: shutil.rmtree(find(store, stage).directory)


def add(name: str, content: bytes) -> Spoil:
    return lambda store: (find(store, "pretrain").artifact / name).write_bytes(content)


def twin(store: Path) -> None:
    """The weights of the run that was made apart."""
    for path in (store / "again" / "pretrain").glob("*/checkpoints/*/model.safetensors"):
        flip(path)


def tasks(specs: dict[str, Any]) -> Spoil:
    """What the evaluation measured."""
    return config("generate", task=specs)


def task(kind: str, file: str | None) -> Spoil:
    return tasks({kind: {"kind": kind, "file": file}})


def file(known: str) -> Spoil:
    """What is known of the bytes of the benchmark that was measured."""
    return edit("generate", lambda made: {"identity": {**made.identity, "task.santacoder_fim": known}})


def unsafe(store: Path) -> None:
    task("humaneval", "humaneval.jsonl")(store)
    config("eval", eval__sandbox="none")(store)


def another_benchmark(store: Path) -> None:
    (store.parent / "benchmarks" / "mbpp.jsonl").write_text('{"text": "sort"}\n')


ALERT = {"step": 7, "alert": "non-finite", "message": "the loss was nan"}
PLANTS: dict[str, list[Spoil]] = {
    "A-DATA-01": [licence("unknown"), licence("")],
    "A-DATA-02": [licence("GPL-3.0-only")],
    "A-DATA-03": [licence("CC-BY-NC-4.0"), licence("BUSL-1.1")],
    "A-DATA-04": [
        edit("prepare", lambda made: {"identity": {}}),
        config("prepare", data__source={"kind": "hub", "repository": "a/b", "revision": "main"}),
        config("prepare", data__source={"kind": "pypi", "packages": {"six": {"version": "1", "sha256": "12"}}}),
        config(
            "prepare",
            data__source={
                "kind": "mix",
                "parts": {"a": {"source": {"kind": "local", "roots": ["a"], "licence": "MIT"}}},
            },
        ),
    ],
    "A-DATA-05": [altered_document],
    "A-DATA-06": [config("prepare", data__filters__secrets=False)],
    "A-DATA-07": [rewrite("train", with_secret), rewrite("val", with_secret)],
    "A-DATA-08": [fact("prepare", benchmarks=[])],
    "A-DATA-09": [task("mbpp", "mbpp/mbpp.jsonl"), task("mbpp", "/mine/mbpp.jsonl"), task("mbpp", None)],
    "A-DATA-10": [in_json("prepare", "sources.json", package_twice)],
    "A-DATA-11": [rewrite("val", with_training_document)],
    "A-DATA-12": [in_json("prepare", "steps.json", lambda rows: rows[-1].update(kept=1))],
    "A-DATA-13": [fact("prepare", documents={"train": 60, "val": 0}), fact("pack", val_sequences=0)],
    "A-DATA-14": [config("prepare", data__dedup__near=False)],
    "A-DATA-15": [
        artifact("pack", "PROVENANCE.md", append("and so on\n")),
        in_json("pack", "card.json", lambda card: card["shards"][0].update(sha256="0" * 64)),
    ],
    "A-DATA-16": [
        file("0" * 64),
        edit("prepare", lambda made: {"identity": {}}),
        config("prepare", evals__data_dir=None),
    ],
    "A-HYP-001": [each("loss", lambda entry: 3 + entry["step"] / 50)],
    "A-HYP-002": [each("grad_norm_clipped", lambda entry: 10.0)],
    "A-HYP-003": [twin],
    "A-REP-01": [edit("tokenizer", lambda made: {"status": "failed"})],
    "A-REP-02": [remove("tokenizer")],
    "A-REP-03": [artifact("pack", "val-00000.parquet", flip), artifact("pretrain", "roles.json", Path.unlink)],
    "A-REP-04": [given("pretrain", "rows", digest="0" * 64), edit("pack", lambda made: {"digest": "0" * 64})],
    "A-REP-05": [from_hub],
    "A-REP-06": [artifact("pretrain", "model.safetensors", not_finite), add("config.json", b"{}")],
    "A-REP-07": [checkpoint("state.json", append(" ")), checkpoint("checkpoint.json", Path.unlink)],
    "A-REP-08": [config("tokenizer", seed=7)],
    "A-REP-09": [config("pretrain", trainer__deterministic=False, trainer__accelerator="cuda")],
    "A-REP-10": [environment(git_commit=None)],
    "A-REP-11": [environment(git_dirty=True), environment(git_dirty=None)],
    "A-REP-12": [environment(lock_sha256=None)],
    "A-REP-13": [environment(torch="1.0")],
    "A-REP-14": [log(lambda entries: [*entries, ALERT])],
    "A-REP-15": [log(last("loss", float("nan"))), each("grad_norm", lambda entry: None)],
    "A-REP-16": [log(lambda entries: again(entries, 5, shift=1e-7))],
    "A-REP-17": [fact("pretrain", steps=100), log(lambda entries: [e for e in entries if e.get("step", 0) < 200])],
    "A-WASTE-01": [fact("pretrain", seconds=1e6)],
    "A-WASTE-02": [each("mfu", lambda entry: 1e-6)],
    "A-WASTE-03": [log(lambda entries: again(entries, 50))],
    "A-WASTE-04": [
        more_checkpoints,
        lambda store: (find(store, "pretrain").directory / DIRECTORY / ".writing-step-00000400").mkdir(),
    ],
    "A-WASTE-05": [fact("pack", fill=0.5)],
    "A-WASTE-06": [fact("pretrain", steps=100_000)],
    "A-SAFE-01": [
        add("weights.pt", b""),
        add("notes", pickle.dumps([1])),
        lambda store: torch.save({"a": torch.ones(1)}, find(store, "pretrain").artifact / "notes.data"),
    ],
    "A-SAFE-02": [artifact("pretrain", "model.safetensors", longer), add("model.safetensors", b"\xff" * 16)],
    "A-SAFE-03": [
        edit("pack", lambda made: {"command": f"albor {SECRET}"}),
        log(lambda entries: [*entries, {"message": SECRET}]),
        config("pretrain", tracking__project=SECRET),
        artifact("eval", "samples.jsonl", append(SECRET)),
        artifact("generate", "generations/santacoder_fim.jsonl", append(SECRET)),
    ],
    "A-SAFE-04": [in_json("pretrain", "roles.json", lambda roles: roles.update(made="/home/ada/models"))],
    "A-SAFE-05": [environment(executable="/Users/ada/.venv/bin/python")],
    "A-SAFE-06": [
        add("modeling.py", b"import os\n"),
        in_json("pretrain", "config.json", lambda found: found.update(auto_map={"AutoModel": "modeling.Mine"})),
        artifact("pretrain", "roles.json", lambda path: path.chmod(0o755)),
    ],
    "A-SAFE-07": [
        add("more.txt", b"more"),
        lambda store: (find(store, "pretrain").artifact / "etc").symlink_to("/etc/hosts"),
    ],
    "A-SAFE-08": [fact("pretrain", val_loss=None), fact("eval", val_ppl=None)],
    "A-SAFE-09": [unsafe],
    "A-INV-01": [checkpoint("model.safetensors", flip), checkpoint("checkpoint.json", append(" "))],
    "A-INV-02": [
        checkpoint(
            "run.yaml", lambda path: path.write_text(path.read_text().replace("weight_decay: 0.1", "weight_decay: 0.2"))
        ),
        config("pretrain", optim__weight_decay=0.2),
    ],
    "A-INV-03": [
        config("pretrain", optim__weight_decay=0.2),
        given("pack", "documents", id="0" * 12),
        edit("prepare", lambda made: {"identity": {**made.identity, "python": "3.0"}}),
    ],
    "A-INV-04": [config("pretrain", optim__lrr=1), config("pretrain", optim__lr="fast")],
    "A-INV-05": [config("pretrain", model__num_attention_heads=3)],
    "A-INV-06": [config("pretrain", model__num_attention_heads=3, allow=["C-MODEL-001"])],
    "A-INV-08": [fact("pack", tokenizer_sha256="0" * 64), config("pretrain", model__vocab_size=513)],
    "A-INV-09": [in_json("pretrain", "config.json", lambda found: found.update(rope_theta=1e6, rope_parameters=None))],
    "A-INV-10": [edit("prepare", lambda made: {"version": 1})],
    "A-EVAL-01": [remove("eval"), remove("generate"), edit("eval", lambda made: {"status": "failed"})],
    "A-EVAL-02": [given("generate", "model", digest="0" * 64)],
    "A-EVAL-03": [rewrite("val", with_training_document)],
    "A-EVAL-04": [fact("eval", val_loss=7.0)],
    "A-EVAL-05": [log(last("loss", 9.0))],
    "A-EVAL-06": [each("loss", lambda entry: 3 + entry["step"] / 50)],
    "A-EVAL-07": [log(last("loss", 12.0))],
    "A-EVAL-08": [fact("pretrain", initial_val_loss=9.0)],
    "A-EVAL-09": [log(last("val_loss", 9.0))],
    "A-EVAL-10": [fact("eval", val_loss=1.0)],
    "A-EVAL-11": [fact("eval", val_tokens=100)],
    "A-EVAL-12": [config("pretrain", model__hidden_size=4096, model__num_hidden_layers=12)],
    "A-EVAL-13": [
        config("generate", task__santacoder_fim__sha256=None),
        file("org/name@main"),
        edit("generate", lambda made: {"identity": {}}),
    ],
    "A-EVAL-14": [config("generate", eval__limit=10), fact("eval", scores={})],
}
"""Item to what makes it fail."""
