"""The LightningModule that every objective extends: one optimizer step, and what is due after it."""

from __future__ import annotations

import gc
import math
import statistics
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from albor.config.schema.trainer import Trainer
from albor.models.decoder import Decoder
from albor.training import checkpoint, optimizer, rng
from albor.training.batches import Window
from albor.training.errors import TrainingError
from albor.training.interrupt import Interrupt
from albor.training.job import Job, Metrics
from albor.training.progress import Progress
from albor.training.validation import evaluate


class Objective(pl.LightningModule):
    """Trains ``decoder`` on windows. A subclass says what is minimised; steps, checkpoints and metrics are shared.

    The loss of a step is the mean over its valid labels, of all micro-batches and ranks together, so accumulating
    gradients equals one large batch even when the numbers of labels differ.
    """

    def __init__(self, decoder: Decoder, job: Job, interrupt: Interrupt) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.decoder, self.job, self.interrupt = decoder, job, interrupt
        self.state = Progress()
        self.resume_from: checkpoint.Checkpoint | None = None
        self._training_loss: Callable[..., Tensor] = self.loss_sum
        if job.trainer.compile:
            self._training_loss = torch.compile(self.loss_sum, dynamic=False, fullgraph=True)
        self._loss = self._norm = torch.zeros(())
        self._in_a_row = self._worst = torch.zeros((), dtype=torch.long)
        self._latest: Metrics = {}
        self._rates: list[float] = []
        self._started = self._clock = time.perf_counter()
        self._clock_step = 0

    @abstractmethod
    def loss_sum(self, *batch: Tensor) -> Tensor:
        """The objective summed over the valid labels of a micro-batch (float32 scalar)."""

    # --- one step ---

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer.build(self.decoder, self.job.optim)

    def transfer_batch_to_device(self, batch: Window, device: torch.device, dataloader_idx: int) -> Window:
        return batch.to(device)

    def training_step(self, window: Window, index: int) -> None:
        adamw = self._optimizer()
        for group in adamw.param_groups:
            group["lr"] = self._learning_rate(self.state.step + 1)
        self._loss = self._accumulate(window)
        self._norm = optimizer.clip(self.decoder.parameters(), self.job.optim.clip_norm)
        finite = self._loss.isfinite() & self._norm.isfinite()
        optimizer.step_if(adamw, finite)
        adamw.zero_grad(set_to_none=True)
        self.state.advance(self.job.tokens_per_step, window.position)
        self._count_non_finite(finite)

    def _learning_rate(self, step: int) -> float:
        return optimizer.learning_rate(
            self.job.optim, step=step, warmup_steps=self.job.trainer.warmup_steps, total_steps=self.job.total_steps
        )

    def _accumulate(self, window: Window) -> Tensor:
        """Leaves the gradient of the window's mean loss in the parameters and gives that loss (float32 scalar)."""
        valid = self._sum_ranks(torch.tensor(float(window.valid), device=self.device)).clamp(min=1)
        total = torch.zeros((), device=self.device)
        for index, batch in enumerate(window.batches, start=1):
            sync = nullcontext() if index == len(window.batches) else self._without_sync()
            with sync, attention(self.device, self.job.trainer):
                loss = self._training_loss(*batch) / valid
                # DDP takes the mean of the ranks' gradients; these are shares of one mean and have to be added.
                self.manual_backward(loss * self.trainer.world_size)
            total += loss.detach()
        return self._sum_ranks(total)

    def _without_sync(self) -> AbstractContextManager[None]:
        strategy = self.trainer.strategy
        if not isinstance(strategy, ParallelStrategy):
            return nullcontext()
        context: AbstractContextManager[None] = strategy.block_backward_sync()
        return context

    def _sum_ranks(self, value: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return value
        total: Tensor = self.trainer.strategy.reduce(value, reduce_op="sum")
        return total

    def _optimizer(self) -> torch.optim.Optimizer:
        adamw: torch.optim.Optimizer = self.optimizers(use_pl_optimizer=False)
        return adamw

    # --- values that are not finite ---

    def _count_non_finite(self, finite: Tensor) -> None:
        """Counted on the device, where the step was skipped; a CPU looks at once, a GPU when it synchronises anyway."""
        self._in_a_row = (self._in_a_row + 1) * ~finite
        self._worst = torch.maximum(self._worst, self._in_a_row)
        if self.device.type == "cpu":
            self._refuse_non_finite()

    def _refuse_non_finite(self) -> None:
        if int(self._worst) > 1:
            raise TrainingError(
                f"the loss or its gradient was not finite in two steps in a row (seen at step {self.state.step})",
                help="look at the data of these steps, or lower optim.lr; checkpoints hold finite weights only",
            )

    # --- what is due around a step ---

    def on_train_start(self) -> None:
        self.interrupt.install()  # Lightning took SIGTERM while it was starting
        self._in_a_row = torch.tensor(self.state.non_finite_in_a_row, device=self.device)
        self._worst = self._in_a_row.clone()
        if self.resume_from is not None:
            optimizer.restore(self.decoder, self._optimizer(), self.resume_from.optimizer)
            rng.restore(self.resume_from.state["rng"])
            self.resume_from = None
        elif not self.state.initial:
            self.state.initial = self.state.final = self._validate()
        gc.collect()
        gc.freeze()  # the model and the modules are not garbage: looking at them again and again costs time
        self._clock, self._clock_step = time.perf_counter(), self.state.step
        if self._asked_to_stop():
            self._save()

    def on_train_batch_end(self, outputs: Any, batch: Window, batch_idx: int) -> None:
        step, trainer = self.state.step, self.job.trainer
        last = step == self.job.total_steps
        if step % trainer.log_every == 0 or last:
            self._log_step()
        if step % trainer.val_every == 0 or last:
            self.state.final = self._validate()
        if self._asked_to_stop() or step % trainer.save_every == 0 or last:
            self._save()
        if self.job.progress is not None and self.trainer.is_global_zero:
            self.job.progress(step, self.job.total_steps, self._latest)

    def on_train_end(self) -> None:
        gc.unfreeze()

    def _asked_to_stop(self) -> bool:
        """Ranks are signalled at different moments: they agree at the steps where they wait for each other anyway."""
        asked = self.interrupt.requested
        if self.trainer.world_size > 1:
            if self.state.step % self.job.trainer.log_every:
                return False
            asked = bool(self._sum_ranks(torch.tensor(float(asked), device=self.device)) > 0)
        self.trainer.should_stop = asked
        return asked

    def _log_step(self) -> None:
        self._refuse_non_finite()
        loss, norm = torch.stack((self._loss, self._norm)).tolist()
        now = time.perf_counter()  # after .tolist(), which waits for the device
        rate = (self.state.step - self._clock_step) * self.job.tokens_per_step / (now - self._clock)
        self._rates.append(rate)
        self._clock, self._clock_step = now, self.state.step
        metrics = {
            "loss": loss,
            "lr": self._learning_rate(self.state.step),
            "grad_norm": norm,
            "tokens_per_second": rate,
        }
        # A skipped step has no finite loss: JSON could not hold it.
        self._emit({key: value for key, value in metrics.items() if math.isfinite(value)})

    def _emit(self, metrics: Metrics) -> None:
        self._latest |= {"step": self.state.step, "tokens": self.state.tokens, **metrics}
        if self.trainer.is_global_zero:
            self.job.log({"step": self.state.step, "tokens": self.state.tokens, **metrics})

    def _validate(self) -> Metrics:
        started = time.perf_counter()
        metrics = evaluate(
            self.decoder,
            self.job.validation(),
            rows=self.job.trainer.val_rows,
            rank=self.global_rank,
            world_size=self.trainer.world_size,
            sum_ranks=self._sum_ranks,
            bytes_per_token=self.job.val_bytes_per_token,
        )
        self._emit(metrics)
        self._clock += time.perf_counter() - started
        return metrics

    def _save(self) -> None:
        self._refuse_non_finite()
        started = time.perf_counter()
        self.state.non_finite_in_a_row = int(self._in_a_row)
        self.state.seconds += started - self._started
        self._started = started
        if self.trainer.is_global_zero:
            state = {**self.state.to_json(), "rng": rng.capture()}
            moments = optimizer.state_by_name(self.decoder, self._optimizer())
            checkpoint.save(self.job.directory, checkpoint.Checkpoint(self.decoder.state_dict(), moments, state))
        self._clock += time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        """What the run came to; the rate is the median over the log intervals of this process."""
        return {
            **self.state.final,
            "initial_val_loss": self.state.initial.get("val_loss"),
            "steps": self.state.step,
            "tokens": self.state.tokens,
            "seconds": self.state.seconds,
            "tokens_per_second": statistics.median(self._rates) if self._rates else None,
            "interrupted": self.state.step < self.job.total_steps,
        }


def attention(device: torch.device, trainer: Trainer) -> AbstractContextManager[None]:
    """The attention kernels to use. cuDNN's is the fastest, and its backward is not deterministic."""
    if device.type != "cuda" or trainer.precision == "float32":
        return nullcontext()
    backends = [SDPBackend.FLASH_ATTENTION]
    if not trainer.deterministic:
        backends.insert(0, SDPBackend.CUDNN_ATTENTION)
    context: AbstractContextManager[None] = sdpa_kernel(backends, set_priority=True)
    return context
