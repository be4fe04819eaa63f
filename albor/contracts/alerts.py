"""Contracts on what is watched while a model trains."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

from albor.config.schedule import lr_factor
from albor.config.schema.alerts import Alert, Sampled
from albor.config.schema.config import Config
from albor.contracts.base import TRAINING, Case, Found, Severity, contract

LOSS_SPREAD = 0.03
"""How far the first loss may lie from ln V, as a share of it: random logits are not quite equal."""
LARGEST_FIRST_NORM = 10.0
"""Assumed bound on the global gradient norm of a healthy first step. Models of this family start between 1 and 10; a
clipped norm is at most clip_norm besides."""
NOISE = 0.25
"""How far single values may lie from their running mean without meaning anything, as a share of it."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Names of environment variables."""


@dataclass(frozen=True)
class Start:
    """Where a metric may lie at the first step of a healthy run; None where nothing is known."""

    least: float | None
    most: float | None
    why: str
    """The rest of a sentence: "loss …"."""


def starts(case: Case) -> dict[str, Start]:
    """The metrics whose first value follows from the config."""
    cfg = case.cfg
    b, optim = case.budget, cfg.optim
    first = optim.lr * lr_factor(
        1,
        schedule=optim.schedule,
        warmup_steps=b.warmup,
        total_steps=b.actual,
        min_lr_ratio=optim.min_lr_ratio,
        decay_fraction=optim.decay_fraction,
    )
    slow = "is low while the first steps compile and warm up"
    clipped = min(optim.clip_norm, LARGEST_FIRST_NORM)
    found = {
        "lr": Start(first, first, f"is {first:.3g} at step 1"),
        "grad_norm": Start(None, LARGEST_FIRST_NORM, f"may be {LARGEST_FIRST_NORM:g} in a healthy first step"),
        "grad_norm_clipped": Start(None, clipped, f"may be {clipped:g} in a healthy first step"),
        "tokens_per_second": Start(0.0, None, slow),
        "mfu": Start(0.0, None, slow),
        "mfu_6p": Start(0.0, None, slow),
    }
    return found | (untrained(cfg, case) if from_scratch(case) else {})


def from_scratch(case: Case) -> bool:
    """Whether training starts from random weights."""
    if case.cfg.init_from:
        return False
    return case.stage == "pretrain" or (case.stage == "distill" and case.cfg.stage.of is None)


def untrained(cfg: Config, case: Case) -> dict[str, Start]:
    """Losses of a model that knows nothing: every token is equally likely, so the loss is ln V and its perplexity V."""
    vocabulary = cfg.model.vocab_size
    nats = math.log(vocabulary)
    low, high = (1 - LOSS_SPREAD) * nats, (1 + LOSS_SPREAD) * nats
    why = f"is within {LOSS_SPREAD:.0%} of {nats:.3f} at step 1 (ln {vocabulary:,}: every token equally likely)"
    found = {
        "loss": Start(low, high, why),
        "val_loss": Start(low, high, why),
        "val_ppl": Start(
            math.exp(low),
            math.exp(high),
            f"is about {vocabulary:,} before step 1 (the vocabulary: every token equally likely)",
        ),
    }
    rows = case.inputs.get("rows", {})
    if rows.get("val_bytes") and rows.get("val_tokens"):
        bits = nats / math.log(2) * rows["val_tokens"] / rows["val_bytes"]
        low, high = (1 - LOSS_SPREAD) * bits, (1 + LOSS_SPREAD) * bits
        found["val_bits_per_byte"] = Start(low, high, f"is within {LOSS_SPREAD:.0%} of {bits:.3f} before step 1")
    return found


@contract(
    "C-ALERT-001",
    "Alerts can fire, and do not fire at initialisation",
    formula="above or below is given; webhook ⇒ url_env, a variable's name; at step 1: loss = val_loss = ln V, "
    "val_ppl = V, lr = lr(1), grad_norm ≤ 10 (assumed), EMA = the value",
    history="The original's alert `loss > 10 → stop` ends every run of a vocabulary of 32,768 at step 1, where the "
    "loss is 10.397.",
    stages=TRAINING,
    needs=("C-TRAINCFG-001", "C-MODEL-002"),
)
def alerts(case: Case) -> Iterator[Found]:
    known = starts(case)
    for name, alert in case.cfg.alerts.items():
        if alert is not None:
            path = f"alerts.{name}"
            yield from incomplete(path, alert)
            if alert.from_step <= 1 and alert.metric not in get_args(Sampled):
                yield from fires_at_once(path, alert, known.get(alert.metric))


def incomplete(path: str, alert: Alert) -> Iterator[Found]:
    if alert.above is None and alert.below is None:
        yield "error", path, f"the alert on {alert.metric} has no threshold", f"{path}.above=… or {path}.below=…"
    if alert.action == "webhook" and alert.url_env is None:
        message = "a webhook needs an address"
        fix = f"{path}.url_env=NAME, with the address in the environment variable NAME"
        yield "error", f"{path}.url_env", message, fix
    elif alert.url_env is not None and not VARIABLE.fullmatch(alert.url_env):
        message = "url_env is the name of an environment variable, not the address, which may be a secret"
        fix = f"export ALBOR_HOOK=https://…, and {path}.url_env=ALBOR_HOOK"
        yield "error", f"{path}.url_env", message, fix


def fires_at_once(path: str, alert: Alert, start: Start | None) -> Iterator[Found]:
    severity: Severity = "error" if alert.action == "stop" else "warning"
    of = ""
    if alert.times_ema:
        start = Start(1 - NOISE, 1 + NOISE, f"is its own mean at first, and up to {NOISE:.0%} off it at any time")
        of = " times its mean"
    if start is None:
        return
    later = f"{path}.from_step=100"
    # A first step that compiles is slow; the ones after it are not. A loss stays near ln V for longer.
    slow_only = start.most is None and (alert.for_steps > 1 or alert.for_seconds > 0)
    if alert.above is not None and start.most is not None and start.most > alert.above:
        message = f"{alert.metric} {start.why}: above {alert.above:g}{of} may fire at once"
        yield severity, f"{path}.above", message, f"{path}.above={rounded(1.1 * start.most)}, or {later}"
    if alert.below is not None and start.least is not None and start.least < alert.below and not slow_only:
        message = f"{alert.metric} {start.why}: below {alert.below:g}{of} may fire at once"
        lower = f"{path}.below={rounded(0.9 * start.least, math.floor)}, or " if start.least else ""
        yield severity, f"{path}.below", message, f"{lower}{later}"


def rounded(value: float, to: Callable[[float], int] = math.ceil) -> str:
    """Two digits of ``value``, rounded outwards."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{float(f'{to(value / unit) * unit:.2g}'):g}"
