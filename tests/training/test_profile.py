"""``trainer.profile``: the table, and what a run that is too short for it says."""

from __future__ import annotations

import logging

import pytest

from albor.training.pretrain import fit

from .toy import MODEL


@pytest.mark.parametrize(("steps", "profiled"), [(12, 3), (7, 2)])
def test_a_few_steps_are_profiled(job, steps: int, profiled: int) -> None:
    made = job(total_steps=steps, profile=True)
    fit(MODEL, made)
    table = (made.directory.parent / "profile.txt").read_text()
    assert table.startswith(f"{profiled} steps, from step 6 of this process") and "aten::" in table


def test_a_run_that_is_too_short_says_so(job, caplog: pytest.LogCaptureFixture) -> None:
    made = job(total_steps=4, profile=True)
    with caplog.at_level(logging.WARNING):
        fit(MODEL, made)
    assert not (made.directory.parent / "profile.txt").exists()
    assert "did not train 6 steps" in caplog.text
