"""What a contract is: an id, a rule with its history, and a pure function from a case to findings. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from albor.config.budget import Budget, budget
from albor.config.schema.config import Config
from albor.config.schema.prune import Sparse
from albor.config.schema.tokenizer import BpeTokenizer, HfTokenizer
from albor.config.sizes import pruned_shape
from albor.errors import AlborError

Severity = Literal["error", "warning"]
Level = Literal[1, 2, 3, 4]
LEVELS: dict[Level, str] = {
    1: "typed: the schema makes a violation unrepresentable",
    2: "examples: what breaks it, and what just does not",
    3: "properties: 10,000 random cases at least",
    4: "proof: by a solver or by exhaustion, within the bounds that the test states",
}
"""How surely a contract is known to hold, or to refuse what it should."""
RECOVERY = "recovery"
"""What stage=prune does once the model is smaller: a training run of its own, from the unpruned model."""
TRAINING = ("pretrain", "distill", "finetune", RECOVERY)
"""Stages that train."""
ANSWERS = ("instructions", "preferences")
"""Stages that make rows of answers, which are as long as what is read of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A contract that does not hold: where, why, and what to change."""

    id: str
    severity: Severity
    path: str
    message: str
    help: str


@dataclass(frozen=True)
class Case:
    """What contracts look at: one stage's typed config, what its inputs say of themselves (an input that is not
    built yet says nothing), and the configs that those not built yet will be built with."""

    cfg: Config
    stage: str
    inputs: Mapping[str, Mapping[str, Any]]
    planned: Mapping[str, Config] = field(default_factory=dict)

    @property
    def num_sequences(self) -> int | None:
        """Training rows: the built dataset's, else the declared number, else unknown."""
        built = self.inputs.get("rows", {}).get("num_sequences")
        return int(built) if built is not None else self.cfg.data.num_sequences

    @property
    def row_len(self) -> int:
        """Tokens in a row: the built dataset's, else those that it will have."""
        maker = self.planned.get("rows", self.cfg)
        planned = maker.data.seq_len if maker.stage.name in ANSWERS else maker.data.packed_len
        return int(self.inputs.get("rows", {}).get("row_len", planned))

    @property
    def tokenizer(self) -> BpeTokenizer | HfTokenizer:
        """The tokenizer of the stage that makes it, which may be given keys of its own."""
        return self.planned.get("tokenizer", self.cfg).tokenizer

    @property
    def budget(self) -> Budget:
        cfg = self.cfg
        return budget(
            cfg.trainer,
            seq_len=cfg.data.seq_len,
            num_parameters=cfg.model.num_parameters,
            num_sequences=self.num_sequences,
        )

    @property
    def recovery(self) -> Case | None:
        """The training that a pruning ends with; None for other stages, for zeros, and for what cannot be pruned."""
        cfg = self.cfg
        if self.stage != "prune" or not recovers(cfg):
            return None
        try:
            smaller = replace(cfg, model=pruned_shape(cfg.model, cfg.prune))
        except AlborError:
            return None  # C-PRUNE-001 says why
        facts = {**self.inputs, "teacher": self.inputs.get("model", {})}
        return Case(smaller, RECOVERY, facts, {**self.planned, "teacher": cfg})


def recovers(cfg: Config) -> bool:
    """Whether what is left of a pruned model is trained: zeros would not stay."""
    return cfg.stage.recover and not isinstance(cfg.prune, Sparse)


Found = tuple[Severity, str, str, str]
"""(severity, path, message, help)"""
Check = Callable[[Case], Iterator[Found]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is promised, and how surely it is known to be kept."""

    id: str
    title: str
    formula: str
    level: Level
    """The highest level of its tests."""
    history: str = ""
    needs: tuple[str, ...] = ()
    """Ids of the contracts that this one takes for granted."""


@dataclass(frozen=True, kw_only=True)
class Contract(Rule):
    """A rule that a config must keep before any compute is spent."""

    stages: tuple[str, ...]
    check: Check

    def findings(self, case: Case) -> list[Finding]:
        return [Finding(self.id, *found) for found in self.check(case)]


CONTRACTS: dict[str, Contract] = {}


def contract(
    id: str,  # noqa: A002
    title: str,
    *,
    formula: str,
    stages: tuple[str, ...],
    history: str = "",
    level: Level = 2,
    needs: tuple[str, ...] = (),
) -> Callable[[Check], Check]:
    """Registers a check as the contract ``id``, applied to the runs of ``stages``."""

    def register(check: Check) -> Check:
        assert id not in CONTRACTS, f"{id} is defined twice"
        CONTRACTS[id] = Contract(
            id=id, title=title, formula=formula, level=level, history=history, needs=needs, stages=stages, check=check
        )
        return check

    return register


def check_all(case: Case) -> list[Finding]:
    """Every finding for one stage run, errors first; errors of allowed contracts become warnings."""
    cases = [case, case.recovery] if case.recovery else [case]
    found = [f for c in CONTRACTS.values() for one in cases if one.stage in c.stages for f in c.findings(one)]
    found = [replace(f, severity="warning") if f.id in case.cfg.allow else f for f in found]
    return sorted(found, key=lambda f: f.severity != "error")
