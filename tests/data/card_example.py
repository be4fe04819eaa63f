"""Made-up data cards: shapes only, no measurement."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from albor.data.card import DataCard, Lengths, Shard, SourceRow, StepRow

NAMES = [
    "numpy",
    "scipy",
    "pandas",
    "sympy",
    "matplotlib",
    "django",
    "sqlalchemy",
    "twisted",
    "ansible-core",
    "botocore",
    "pip",
    "setuptools",
    "cryptography",
    "pillow",
    "jinja2",
    "werkzeug",
    "pytest",
    "hypothesis",
    "mypy",
    "black",
    "pylint",
    "ruff-api",
    "sphinx",
    "docutils",
    "pygments",
    "babel",
    "lxml",
    "scikit-learn",
    "scikit-image",
    "statsmodels",
    "networkx-extra",
    "dask",
    "distributed",
    "xarray",
    "bokeh",
    "plotly",
    "altair",
    "celery",
    "kombu",
    "redis",
    "pymongo",
    "psycopg",
    "asyncpg",
    "aiohttp",
    "urllib3",
    "certifi",
    "idna",
    "chardet",
    "paramiko",
    "fabric",
    "invoke",
    "tox",
    "virtualenv",
    "poetry",
    "hatchling",
    "flit",
    "wheel",
    "packaging",
    "pluggy",
    "rich",
    "textual",
    "typer",
    "pydantic",
    "fastapi",
    "uvicorn",
    "gunicorn",
    "tqdm",
    "joblib",
    "numba",
    "llvmlite",
    "cython-tools",
]
HELD_OUT = [
    "requests",
    "flask",
    "click",
    "httpx",
    "attrs",
    "marshmallow",
    "starlette",
    "networkx",
    "pyparsing",
    "arrow",
    "tornado",
    "jsonschema",
]
LICENCES = ("MIT", "BSD-3-Clause", "Apache-2.0", "BSD-2-Clause", "PSF-2.0", "ISC", "Unlicense")
STEPS: tuple[tuple[str, dict[str, int]], ...] = (
    ("ingest", {"not_utf8": 12, "too_large": 3}),
    ("licence", {"not_allowed": 812, "unknown": 96}),
    ("length", {"too_short": 3_904, "too_long": 211}),
    ("lines", {"long_line": 402, "mean_line": 37}),
    ("alphanumeric", {"low_alphanumeric": 18}),
    ("generated", {"auto_generated": 344}),
    ("syntax", {"syntax_error": 127, "recursion": 1}),
    ("secrets", {"private_key": 9, "token": 14}),
    ("exact_dedup", {"duplicate": 1_482}),
    ("near_dedup", {"near_duplicate": 2_750}),
    ("decontaminate", {"humaneval": 3, "mbpp": 1}),
    ("split", {}),
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def source_rows(seed: int = 5) -> list[SourceRow]:
    rng = random.Random(seed)
    rows = []
    for split, names in (("train", NAMES), ("val", HELD_OUT)):
        for rank, name in enumerate(names):
            size = int(rng.uniform(0.6, 1.4) * 21e6 / (rank + 2) ** 0.9)
            rows.append(
                SourceRow(
                    source="stdlib" if name == "pip" else "pypi",
                    package=name,
                    version=f"{rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 12)}",
                    licence=rng.choices(LICENCES, (40, 30, 18, 6, 3, 2, 1))[0],
                    split=split,
                    documents=max(1, size // 9_000),
                    bytes=size,
                    tokens=size * 10 // 36,
                )
            )
    return rows


def step_rows(documents: int, size: int) -> list[StepRow]:
    """Steps that leave ``documents`` documents of ``size`` bytes."""
    rows, kept, after = [], documents, size
    for name, rejected in reversed(STEPS):
        taken = kept + sum(rejected.values())
        before = int(after * (taken / kept) ** 0.6)
        rows.append(StepRow(name=name, taken=taken, kept=kept, rejected=rejected, bytes_taken=before, bytes_kept=after))
        kept, after = taken, before
    return rows[::-1]


def card(**changes: Any) -> DataCard:
    """The card of a corpus of 70 packages with everything on it."""
    sources = source_rows()
    documents, size = sum(r.documents for r in sources), sum(r.bytes for r in sources)
    tokens, val_tokens = (sum(r.tokens for r in sources if r.split == s) for s in ("train", "val"))
    shards = [
        Shard(
            file=f"train-{i:05d}.parquet", sha256=sha(f"train{i}"), rows=8_192, tokens=16_700_000 + i, bytes=33_600_000
        )
        for i in range(6)
    ]
    fields: dict[str, Any] = {
        "name": "pypi-bpe_32k",
        "tokenizer": "bpe_32k",
        "inputs": {"documents": "prepare/pypi-0f3a5c7d9b11", "tokenizer": "tokenizer/bpe_32k-77aa01c2d3e4"},
        "sources": sources,
        "steps": step_rows(documents, size),
        "shards": [
            *shards,
            Shard(file="val-00000.parquet", sha256=sha("val"), rows=512, tokens=val_tokens, bytes=2**21),
        ],
        "lengths": Lengths(
            edges=[2**p for p in range(5, 18)],
            train=[0, 41, 388, 1_204, 2_310, 3_377, 3_821, 3_402, 2_411, 1_190, 402, 77, 0],
            val=[0, 2, 13, 60, 92, 140, 133, 118, 96, 38, 20, 4, 0],
        ),
        "facts": {
            "num_sequences": 49_152,
            "val_sequences": 512,
            "tokens": tokens,
            "val_tokens": val_tokens,
            "val_bytes": sum(r.bytes for r in sources if r.split == "val"),
            "fill": 0.99871,
            "row_len": 2048,
            "vocab_size": 32_768,
            "pieces": 71_204,
            "fim_pieces": 35_391,
            "fim_documents": 17_040,
        },
    }
    return DataCard(**{**fields, **changes})


def thin_card(name: str = "tiny") -> DataCard:
    """One package, nothing held out, no step, no shard."""
    row = SourceRow(
        source="local", package=name, version="", licence="MIT", split="train", documents=1, bytes=70, tokens=20
    )
    lengths = Lengths(edges=[32, 64, 128], train=[0, 1, 0], val=[0, 0, 0])
    return DataCard(name=name, tokenizer="", inputs={}, sources=[row], steps=[], shards=[], lengths=lengths, facts={})


def empty_card() -> DataCard:
    lengths = Lengths(edges=[32, 64], train=[0, 0], val=[0, 0])
    return DataCard(name="", tokenizer="", inputs={}, sources=[], steps=[], shards=[], lengths=lengths, facts={})
