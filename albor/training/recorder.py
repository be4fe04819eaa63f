"""What becomes of the numbers of a step: lines in the log, alerts, a diagnosis, and the end if they are not finite."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from safetensors.torch import save_file

from albor.config.schema.model import Model
from albor.runs.files import write_text
from albor.training.alerts import Alerts, Fired
from albor.training.batches import Window
from albor.training.errors import TrainingError
from albor.training.job import Job, Metrics
from albor.training.meter import Meter, memory
from albor.training.notify import Notifier
from albor.training.optimizers import lr_factor_at
from albor.training.plateau import Plateau
from albor.training.power import Wattmeter, probe_of
from albor.training.readback import LATE, Values
from albor.training.sampler import Sampler, probes

NON_FINITE = "non-finite"
"""Directory of a run for the batches whose loss or gradient was not finite."""
NO_PARTS: Mapping[str, float] = {}
ALLOWED_NON_FINITE = 1
"""Steps of a run that may be skipped."""


class Recorder:
    """One rank's; only rank 0 logs and watches, every rank keeps and dumps its own batches."""

    def __init__(self, job: Job, model: Model, *, rank: int, device: torch.device) -> None:
        self.job, self.rank, self.device = job, rank, device
        self.non_finite = 0
        """Steps skipped so far because their loss or gradient was not finite."""
        self.latest: Metrics = {}
        self._windows: deque[tuple[int, Window]] = deque(maxlen=LATE[device.type] + 2)
        self._clock = time.perf_counter()
        self._paused = False
        self._stack = ExitStack()
        self.meter = Meter(
            tokens_per_step=job.tokens_per_step,
            flops_per_token=model.flops_per_token(job.seq_len),
            parameters=model.num_parameters,
            peak_flops=job.peak_flops,
            total_steps=job.total_steps,
        )
        watched = job.alerts if rank == 0 else {}
        self._notifier = self._stack.enter_context(Notifier(watched, run=job.name, log=job.log))
        self.alerts = Alerts(watched, self._notifier)
        self.wattmeter = Wattmeter(None)
        self.plateau = Plateau(
            total_steps=job.total_steps,
            warmup_steps=job.trainer.warmup_steps,
            lr_factor=self._lr_factor,
            causes=job.plateau_causes,
        )

    def _lr_factor(self, step: int) -> float:
        return lr_factor_at(self.job.optim, step, self.job.trainer.warmup_steps, self.job.total_steps)

    # --- its life ---

    def start(self) -> None:
        """Begins to watch by the clock."""
        self._clock = time.perf_counter()
        found = probes(self.alerts.alerts, self.device, self._seconds_late)
        self._stack.enter_context(Sampler(self.alerts, found))
        self.wattmeter = self._stack.enter_context(Wattmeter(probe_of(self.device)))

    def close(self) -> None:
        self._stack.close()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps (JSON)."""
        return {"non_finite": self.non_finite, "alerts": self.alerts.state(), "plateau": self.plateau.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.non_finite = state["non_finite"]
        self.alerts.load(state["alerts"])
        self.plateau.load(state["plateau"])

    # --- what it is told ---

    def begin(self, step: int, window: Window) -> None:
        """The data of a step, on the host: kept until its numbers are known."""
        self._windows.append((step, window))

    def pause(self) -> None:
        """No step is waited for from here."""
        self._paused = True

    def go_on(self) -> None:
        self._clock = time.perf_counter()
        self._paused = False

    def _seconds_late(self) -> float:
        if self._paused:
            return 0.0
        return max(0.0, time.perf_counter() - self._clock - self.meter.usual_seconds())

    def take(self, values: Values, parts: Mapping[str, float] = NO_PARTS) -> None:
        """The numbers of a step, and the objective's own by name. Raises TrainingError when training cannot go on."""
        self._clock = time.perf_counter()
        metrics = {
            "loss": values.loss,
            **parts,
            "lr": self.job.optim.lr * self._lr_factor(values.step),
            "grad_norm": values.grad_norm,
            "grad_norm_clipped": values.grad_norm_clipped,
            **self.meter.step(values.step, values.seconds),
        }
        finite = math.isfinite(values.loss + values.grad_norm)
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)} | memory(self.device)
        if values.step % self.job.trainer.log_every == 0 or values.step == self.job.total_steps or not finite:
            self.log(values.step, metrics)
        if not finite:
            self._skipped(values)
        self._watch(values.step, metrics)
        diagnosis = self.plateau(values.step, values.loss, values.grad_norm) if self.rank == 0 else None
        if diagnosis is not None:
            self._notifier.tell(values.step, "plateau", diagnosis)

    def validated(self, step: int, metrics: Metrics) -> None:
        self.log(step, metrics)
        self._watch(step, metrics)

    def log(self, step: int, metrics: Metrics) -> None:
        line = {"step": step, "tokens": step * self.job.tokens_per_step, **metrics}
        self.latest |= line
        if self.rank == 0:
            self.job.log(line)

    def _watch(self, step: int, metrics: Mapping[str, float]) -> None:
        fired: Fired | None = self.alerts({"step": step, **metrics})
        if fired is not None:
            raise fired.error()

    # --- values that are not finite ---

    def _skipped(self, values: Values) -> None:
        self.non_finite += 1
        place = self._dump(values)
        message = f"the loss was {values.loss:g}, its gradient's norm {values.grad_norm:g}; the batch is in {place}"
        if self.non_finite > ALLOWED_NON_FINITE:
            cause = f"step {values.step} is the second whose loss or gradient was not finite: {message}"
            if self.rank == 0:
                self._notifier.tell(values.step, "non-finite", cause, quiet=True)
            raise TrainingError(
                cause,
                help="look at these batches, or lower optim.lr; weights and checkpoints are those of finite steps",
            )
        if self.rank == 0:
            self._notifier.tell(values.step, "non-finite", f"{message}; the step was skipped, the next one will not be")

    def _dump(self, values: Values) -> str:
        """Writes the tokens and labels of the step's micro-batches on this rank; gives the file."""
        directory = self.job.directory.parent / NON_FINITE
        directory.mkdir(parents=True, exist_ok=True)
        stem = f"step-{values.step:08d}-rank-{self.rank}"
        window = next(window for step, window in self._windows if step == values.step)
        tensors = {
            f"{name}.{index}": tensor.contiguous()
            for index, batch in enumerate(window.batches)
            for name, tensor in zip(("tokens", "labels"), batch, strict=True)
        }
        save_file(tensors, directory / f"{stem}.safetensors")
        facts = {"step": values.step, "loss": str(values.loss), "grad_norm": str(values.grad_norm),
                 "next_position": window.position}  # fmt: skip
        write_text(directory / f"{stem}.json", json.dumps(facts, indent=1))
        return str(directory / f"{stem}.safetensors")
