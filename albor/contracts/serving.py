"""Contracts on what is served."""

from __future__ import annotations

from collections.abc import Iterator

from albor.config.schema.serve import LOOPBACK
from albor.contracts.base import Case, Found, contract


@contract(
    "C-SERVE-001",
    "A server that other machines reach asks for a key",
    formula="stage.host ∈ {127.0.0.1, localhost, ::1} ∨ stage.key_env names a variable",
    stages=("serve",),
)
def asks_for_a_key(case: Case) -> Iterator[Found]:
    wanted = case.cfg.stage
    if wanted.key_env is None and wanted.host not in LOOPBACK:
        message = f"stage.host={wanted.host} can be reached from elsewhere, and no key is asked for"
        fix = "name a variable that holds one: stage.key_env=ALBOR_API_KEY; or stage.host=127.0.0.1"
        yield "error", "stage.host", message, fix
