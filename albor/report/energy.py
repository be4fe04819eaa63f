"""What a model's runs took in energy, and the carbon of it: an estimate, with all that it is made of.

    kWh   = device-seconds × W × PUE / 3,600,000
    grams = kWh × carbon intensity of the grid

W is what the device drew where that was measured (the fact ``watts``), else the board power or TDP that its maker
states (``hardware.power``), as if it had been fully busy. The rest of the machine is in neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from albor.config.schema.run import Hardware
from albor.runs.manifest import Manifest

JOULES_PER_KWH = 3.6e6
ON_CPU = ("prepare", "tokenizer", "pack", "instructions", "merge", "quantize", "eval", "export")
"""Stages whose runs use the processors alone, whatever device the target's others train on."""
DISTRIBUTED = ("pretrain", "distill", "finetune")
"""Stages whose runs use every device that ``trainer`` names."""
CPU = "cpu"
DEFAULTS: Mapping[str, Any] = {f.name: f.default for f in fields(Hardware)}
"""What runs that recorded no such key are taken to have had."""
Power = Callable[[str], float | None]
"""(name of hardware) -> watts that our own config of this name states."""


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What is taken instead of what the runs recorded; None takes that."""

    power: float | None = None
    pue: float | None = None
    carbon_intensity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one run took."""

    stage: str
    id: str
    device: str
    devices: int
    seconds: float
    watts: float | None
    """Of one device; None where nobody has said."""
    measured: bool
    pue: float
    carbon_intensity: float
    """Grams of CO2 per kWh."""

    @property
    def kwh(self) -> float | None:
        return None if self.watts is None else self.devices * self.seconds * self.watts * self.pue / JOULES_PER_KWH

    @property
    def grams(self) -> float | None:
        return None if (kwh := self.kwh) is None else kwh * self.carbon_intensity


def spent(runs: Sequence[Manifest], stated: Power, assumed: Assumed = Assumed()) -> list[Spent]:
    """What the finished ones of the runs took, in their order."""
    return [of_run(run, stated, assumed) for run in runs if run.status == "done" and run.seconds is not None]


def of_run(run: Manifest, stated: Power, assumed: Assumed) -> Spent:
    hardware: Mapping[str, Any] = run.config.get("hardware") or {}
    alone = run.stage in ON_CPU
    name = CPU if alone else str(hardware.get("name", CPU))
    trainer = run.config.get("trainer") or {}
    several = run.stage in DISTRIBUTED
    measured = run.facts.get("watts")
    own = hardware.get("power") if name == hardware.get("name") else None
    watts = assumed.power or measured or own or stated(name)
    return Spent(
        stage=run.stage,
        id=run.id,
        device=name,
        devices=trainer.get("devices", 1) * trainer.get("nodes", 1) if several else 1,
        seconds=run.seconds or 0.0,
        watts=watts,
        measured=assumed.power is None and measured is not None,
        pue=assumed.pue or hardware.get("pue") or DEFAULTS["pue"],
        carbon_intensity=next(
            value
            for value in (assumed.carbon_intensity, hardware.get("carbon_intensity"), DEFAULTS["carbon_intensity"])
            if value is not None
        ),
    )


def total(parts: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
