"""Waste: time that no step used, work that was done twice, disk that nobody needs."""

from __future__ import annotations

import statistics

from albor.audit.facts import Facts, fact
from albor.audit.item import Outcome, holds, item, unknown
from albor.config.units import human_bytes
from albor.runs import checkpoints

IDLE = 0.25
"""Share of the training time in which no step ran that is still well used: start, compilation, validations, saves."""
MFU = 0.5
"""Share of the expected MFU that must be reached."""
REPEATED = 0.05
"""Share of the steps that crashes may cost."""
FILL = 0.95
EPOCHS = 4
"""Passes over the same rows that teach nearly as much as new ones would (Muennighoff et al. 2023)."""
LEFTOVERS = (".writing-*", ".removing-*", f"*{checkpoints.REPLACED}")


@item("A-WASTE-01", "The device was seldom idle", severity="minor")
def idle(facts: Facts) -> Outcome:
    tokens, seconds, speed = (fact(facts.training, key) for key in ("tokens", "seconds", "tokens_per_second"))
    share = max(0.0, 1 - tokens / speed / seconds)
    text = f"{share:.1%} of {seconds:,.0f} s outside steps at the usual {speed:,.0f} tokens/s; at most {IDLE:.0%}"
    return holds(share <= IDLE, text)


@item("A-WASTE-02", "The device did what was expected of it", severity="minor")
def mfu(facts: Facts) -> Outcome:
    values, hardware = facts.log.values("mfu"), facts.settings.hardware
    if not values:
        return unknown("no MFU was logged: the peak of the device is not known")
    median, expected = statistics.median(values), hardware.mfu
    text = f"median MFU {median:.1%}, {hardware.name} is expected to reach {expected:.0%}; at least {MFU:.0%} of that"
    return holds(median >= MFU * expected, text)


@item("A-WASTE-03", "Few steps were trained twice", severity="minor")
def repeated(facts: Facts) -> Outcome:
    twice, every = facts.log.repeated, len(facts.log.steps)
    return holds(twice <= REPEATED * every, f"{twice:,} of {every:,} ({twice / every:.1%}); at most {REPEATED:.0%}")


@item("A-WASTE-04", "No superseded checkpoint takes up disk", severity="minor")
def superseded(facts: Facts) -> Outcome:
    trainer = facts.settings.trainer
    place = facts.training.directory / checkpoints.DIRECTORY
    allowed = trainer.keep_last + trainer.keep_best
    left = [path for pattern in LEFTOVERS for path in place.glob(pattern)]
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    text = f"{len(facts.checkpoints)} checkpoints, {human_bytes(size)}; {allowed} are to be kept"
    good = len(facts.checkpoints) <= allowed and not left
    return holds(good, text + (f"; left by a killed process: {len(left)}" if left else ""))


@item("A-WASTE-05", "Rows are full", severity="minor")
def fill(facts: Facts) -> Outcome:
    share = fact(facts.upstream("pack"), "fill")
    return holds(share >= FILL, f"{share:.2%} of the training rows' tokens are text; at least {FILL:.0%}")


@item("A-WASTE-06", "The data were not read too often", severity="minor")
def epochs(facts: Facts) -> Outcome:
    budget, steps = facts.case(facts.training).budget, fact(facts.training, "steps")
    if not budget.num_sequences:
        return unknown("the number of training rows is not known")
    passes = steps * budget.sequences_per_step / budget.num_sequences
    text = f"{passes:.2f} passes over {budget.num_sequences:,} rows; at most {EPOCHS}"
    return holds(passes <= EPOCHS, text)
