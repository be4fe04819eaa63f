"""Versions of the pipeline's steps: raised when the same settings and input would give another result.

Part of the run ids of the stages and of the keys of their finished parts, so that neither a run nor a half-finished one
is taken for what this albor would make.
"""

from __future__ import annotations

import sys

INGEST = 3
PUBLISH = 2
TOKENIZE = 2
ROWS = 2

PARSER = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The Python whose grammar decides what is syntax."""
