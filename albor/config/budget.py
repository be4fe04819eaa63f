"""The arithmetic of C-TRAINCFG-001: how many steps the data allow, and what the batch makes of them."""

from __future__ import annotations

from dataclasses import dataclass

from albor.config.schema.trainer import BUDGETS, Trainer


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps asked for against steps that ``num_sequences`` rows allow (None while the rows are not known)."""

    wanted: int
    warmup: int
    epochs: int
    sequences_per_step: int
    seq_len: int
    num_sequences: int | None

    @property
    def tokens_per_step(self) -> int:
        return self.sequences_per_step * self.seq_len

    @property
    def steps_per_epoch(self) -> int | None:
        """``floor(N / (micro_batch · grad_accum · world_size))``"""
        return None if self.num_sequences is None else self.num_sequences // self.sequences_per_step

    @property
    def achievable(self) -> int | None:
        return None if self.steps_per_epoch is None else self.epochs * self.steps_per_epoch

    @property
    def actual(self) -> int:
        """Steps that will run; the decay horizon of the schedule."""
        return self.wanted if self.achievable is None else min(self.wanted, self.achievable)

    @property
    def min_epochs(self) -> int | None:
        """Fewest epochs that hold the steps asked for: ``ceil(wanted / steps_per_epoch)``, exact at any size."""
        return -(-self.wanted // self.steps_per_epoch) if self.steps_per_epoch else None

    @property
    def total_tokens(self) -> int:
        return self.actual * self.tokens_per_step


def budget(trainer: Trainer, *, seq_len: int, num_parameters: int, num_sequences: int | None) -> Budget:
    """With none of the trainer's budgets, the steps of all epochs: 0 while the rows are not known."""
    per_step = trainer.sequences_per_step
    given = any(getattr(trainer, key) is not None for key in BUDGETS)
    return Budget(
        wanted=trainer.steps(seq_len, num_parameters) if given else trainer.epochs * ((num_sequences or 0) // per_step),
        warmup=trainer.warmup_steps,
        epochs=trainer.epochs,
        sequences_per_step=per_step,
        seq_len=seq_len,
        num_sequences=num_sequences,
    )
