"""Manifests for tests."""

from __future__ import annotations

from typing import Any

from albor.runs.manifest import Manifest


def manifest(**changes: Any) -> Manifest:
    fields = {"stage": "prepare", "version": 1, "id": "0123456789ab", "label": "x", "status": "planned"}
    return Manifest(**{**fields, "command": "c", "config": {"a": [1, None, "é"]}, **changes})
