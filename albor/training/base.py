"""The LightningModule that every objective extends: one optimizer step, and what is due after it."""

from __future__ import annotations

import gc
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from albor.config.schema.trainer import Trainer
from albor.models.decoder import Decoder
from albor.training import optimizers, parallel, rng
from albor.training.batches import Batch, Window
from albor.training.checkpoint import Checkpoint, Writer
from albor.training.errors import TrainingError
from albor.training.interrupt import Interrupt
from albor.training.job import Job
from albor.training.lightning import pl
from albor.training.progress import Progress
from albor.training.readback import Readback
from albor.training.recorder import Recorder
from albor.training.stepper import Stepper
from albor.training.validation import evaluate
from albor.training.watchdog import Heartbeat


class AskedToStop(Exception):
    """A signal came, to this rank or another."""


class Objective(pl.LightningModule):
    """Trains ``decoder`` on windows. A subclass says what is minimised; steps, checkpoints and metrics are shared.

    The loss of a step is the mean over its valid labels, of all micro-batches and ranks together, so accumulating
    gradients equals one large batch even when the numbers of labels differ.
    """

    measures: tuple[str, ...] = ()
    """What a subclass measures besides its loss, for the log: sums over labels that ``loss_sum`` adds to ``parts``."""

    def __init__(self, decoder: Decoder, job: Job, interrupt: Interrupt, heartbeat: Heartbeat) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.decoder, self.job, self.interrupt, self.heartbeat = decoder, job, interrupt, heartbeat
        self.state = Progress()
        self.resume_from: Checkpoint | None = None
        self.weights: Mapping[str, Tensor] = {}
        """The decoder's state dict at the end, whole on rank 0."""
        self._writer: Writer | None = None
        self.parts: Tensor
        """float32 [len(measures)], of the step in hand."""
        self._stopping = False
        self._started = time.perf_counter()

    @abstractmethod
    def loss_sum(self, *batch: Tensor) -> Tensor:
        """The objective summed over what ``count`` counts in a micro-batch (float32 scalar)."""

    def count(self, window: Window) -> int:
        """What the loss of a step is a mean over, on this rank."""
        return window.valid

    # --- what is kept of the weights ---

    def exported(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The model that the decoder's whole ``tensors`` come to: what checkpoints and the run's result hold."""
        return tensors

    def kept(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What of ``tensors`` a resume needs besides: it is saved beside the optimizer's moments."""
        return {}

    def resume(self, found: Checkpoint) -> None:
        """Goes on from ``found``; raises TrainingError when it is not of this run."""
        self.decoder.load_state_dict(found.model)
        self.take(found)

    def take(self, found: Checkpoint) -> None:
        """Takes the progress of ``found`` now, the optimizer's state when training starts."""
        self.state, self.resume_from = Progress.from_json(found.state), found

    def refuse(self, step: int, parts: Mapping[str, float]) -> None:
        """Raises TrainingError when a step's parts cannot be right."""

    # --- set up ---

    def configure_model(self) -> None:
        trainer = self.job.trainer
        if trainer.strategy == "fsdp" and trainer.world_size > 1:
            parallel.shard(self.decoder, trainer, self.device_mesh["data_parallel"])
        elif trainer.compile:
            self.decoder.compile_regions()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return optimizers.build(self.decoder, self.job.optim, compile=self.job.trainer.compile)

    def on_train_start(self) -> None:
        self.interrupt.install()  # Lightning took SIGTERM while it was starting
        parallel.without_sigterm_broadcast(self.trainer)
        tokens = self.job.tokens_per_step // self.trainer.world_size
        self._stepper = Stepper(
            self.decoder,
            self.job.optim,
            parallel.bare(self.optimizers(use_pl_optimizer=False)),
            self.device,
            fp8_tokens=tokens if self.job.trainer.precision == "fp8" else None,
        )
        self._readback = Readback(self.device)
        self.recorder = Recorder(self.job, self.decoder.config, rank=self.global_rank, device=self.device)
        if self.trainer.is_global_zero:
            trainer = self.job.trainer
            self._writer = Writer(
                self.job.directory,
                keep_last=trainer.keep_last,
                keep_best=trainer.keep_best,
                files=self.job.files,
                resumed=None if self.resume_from is None else self.state.step,
            )
        self._refuse_disagreement()
        if self.resume_from is not None:
            self._restore(self.resume_from)
        if self._validation_due():
            self._validate()
        gc.collect()
        gc.freeze()  # the model and the modules are not garbage: looking at them again and again costs time
        self.recorder.start()
        self._readback.restart()
        self._stopping = self._asked_to_stop()
        if self._stopping:
            self._save()
        self.trainer.should_stop = self._stopping or self.state.step >= self.job.last_step
        self.heartbeat.beat("reading the next batch", self.state.step)

    def _refuse_disagreement(self) -> None:
        """Raises TrainingError when the ranks go on from different checkpoints: they would train apart."""
        steps = parallel.gather(self.state.step)
        if len(set(steps)) > 1:
            raise TrainingError(
                f"the ranks go on from different steps: {', '.join(map(str, steps))} of ranks 0 to {len(steps) - 1}",
                help=f"all machines must see the same files in {self.job.directory}; then give the same command again",
            )

    def _restore(self, found: Checkpoint) -> None:
        self._stepper.restore(found.optimizer, found.state)
        rng.restore(found.state["rng"][self.global_rank], self.device)
        self.recorder.load(found.state["recorder"])
        self.resume_from = None

    # --- one step ---

    def transfer_batch_to_device(self, batch: Window, device: torch.device, dataloader_idx: int) -> Window:
        self.recorder.begin(self.state.step + 1, batch)
        return batch.to(device)

    def training_step(self, window: Window, index: int) -> None:
        self.heartbeat.beat("computing", self.state.step)
        valid = parallel.sum_ranks(self._scalar(self.count(window))).clamp(min=1)
        if self.state.step == 0:
            self.parts = torch.zeros(len(self.measures), device=self.device)
            self._stepper.calibrate(lambda: self._backward(window.batches[0], valid, last=False))
        loss, stop, *parts = self._accumulate(window, valid)
        norm, clipped = self._stepper.step(loss, self._lr_factor(self.state.step + 1))
        self.state.advance(self.job.tokens_per_step, window.position)
        self._readback.push(self.state.step, torch.stack((loss, norm, clipped, stop, *parts)))

    def _lr_factor(self, step: int) -> float:
        return optimizers.lr_factor_at(self.job.optim, step, self.job.trainer.warmup_steps, self.job.total_steps)

    def _accumulate(self, window: Window, valid: Tensor) -> Tensor:
        """Leaves the gradient of the window's mean loss over ``valid`` labels in the parameters; gives that loss,
        whether any rank was asked to stop, and the mean parts (float32)."""
        total = torch.zeros((), device=self.device)
        self.parts = torch.zeros(len(self.measures), device=self.device)
        for index, batch in enumerate(window.batches, start=1):
            total += self._backward(batch, valid, last=index == len(window.batches))
        stop = self._scalar(self.interrupt.requested)
        return parallel.sum_ranks(torch.stack((total, stop, *(self.parts / valid))))

    def _backward(self, batch: tuple[Tensor, ...], valid: Tensor, *, last: bool) -> Tensor:
        """Adds the gradient of a micro-batch, and after the ``last`` one of a step averages them over the ranks."""
        sync = parallel.without_sync(self.trainer.strategy, self.decoder, last=last)
        with sync, attention(self.device, self.job.trainer):
            loss = self.loss_sum(*batch) / valid
            # DDP takes the mean of the ranks' gradients; these are shares of one mean and have to be added.
            self.manual_backward(loss * self.trainer.world_size)
        self._stepper.observe()
        return loss.detach()

    def _scalar(self, value: float) -> Tensor:
        """``value`` on the device (float32). torch.tensor would wait for all that the device still has to do."""
        return torch.full((), float(value), device=self.device)

    # --- what is due after a step ---

    def on_train_batch_end(self, outputs: Any, batch: Window, batch_idx: int) -> None:
        step = self.state.step
        save_due = step % self.job.trainer.save_every == 0 or step == self.job.last_step
        self.heartbeat.beat("waiting for the device", step)
        self._take(everything=save_due or self._validation_due())
        if save_due:
            self._save()  # before the validation: what an evaluation can break must not cost the training
        if self._validation_due():
            self._validate()
        if self._stopping:
            self._take(everything=True)
            self.trainer.should_stop = True
            if not save_due:
                self._save()
        if self.job.progress is not None and self.trainer.is_global_zero:
            self.job.progress(step, self.job.total_steps, self.recorder.latest)
        self.heartbeat.beat("reading the next batch", step)

    def _take(self, *, everything: bool) -> None:
        for values in self._readback.pop(everything=everything):
            parts = dict(zip(self.measures, values.parts, strict=True))
            self.recorder.take(values, parts)
            self.refuse(values.step, parts)
            self._stopping |= values.stop

    def _validation_due(self) -> bool:
        """Also after a resume: a checkpoint is older than its step's validation."""
        step = self.state.step
        due = step % self.job.trainer.val_every == 0 and self.state.validated != step
        return (due or self._validation_missing()) and not self._stopping

    def _validation_missing(self) -> bool:
        """Whether the run's last step is done, and what it came to is not known."""
        return self.state.step == self.job.total_steps != self.state.validated

    @contextmanager
    def _pause(self) -> Iterator[list[float]]:
        """Time that is not a step's, when the numbers of all steps are read; gives its seconds in a list at the end."""
        started, seconds = time.perf_counter(), list[float]()
        self.recorder.pause()
        yield seconds
        seconds.append(time.perf_counter() - started)
        self.recorder.go_on()
        self._readback.restart()

    def _asked_to_stop(self) -> bool:
        """Whether any rank was. Every rank asks at the same places, and waits for the others."""
        return bool(parallel.sum_ranks(self._scalar(self.interrupt.requested)) > 0)

    def _validate(self) -> None:
        """One that is interrupted leaves no trace: it is made whole after a resume."""
        # Documents are kept apart by a kernel that has to be compiled: eager, it holds every score of every head.
        compiling = self.job.trainer.document_mask and self.job.trainer.compile
        with self._pause(), attention(self.device, self.job.trainer), nullcontext() if compiling else eager():
            self.decoder.eval()
            try:
                metrics = evaluate(
                    self.decoder,
                    self._until_asked_to_stop(self.job.validation()),
                    rows=self.job.trainer.val_rows,
                    rank=self.global_rank,
                    world_size=self.trainer.world_size,
                    sum_ranks=parallel.sum_ranks,
                    bytes_per_token=self.job.val_bytes_per_token,
                    mask=self.mask,
                )
            except AskedToStop:
                self._stopping = True
                return
            finally:
                self.decoder.train()
        self.state.final, self.state.validated = metrics, self.state.step
        self.state.initial = self.state.initial or metrics
        self.recorder.validated(self.state.step, metrics)
        if self._writer is not None and self.state.step:
            self._writer.scored(self.state.step, float(metrics["val_loss"]))

    def mask(self, tokens: Tensor) -> Any:
        """What the tokens see besides what lies before them; None for all of it."""
        return None

    def _until_asked_to_stop(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.heartbeat.beat("validating", self.state.step)
            if self._asked_to_stop():
                raise AskedToStop
            yield batch

    def _save(self) -> None:
        self.heartbeat.beat("saving", self.state.step)
        with self._pause() as seconds:
            now = time.perf_counter()
            self.state.seconds += now - self._started
            self._started = now
            tensors = self._whole(self.decoder.state_dict())
            moments = {**self._whole(self._stepper.moments()), **self.kept(tensors)}
            state = {
                **self.state.to_json(),
                "rng": parallel.gather(rng.capture(self.device)),
                **self._stepper.state(),
                "recorder": self.recorder.state(),
            }
            if self._writer is not None:
                self._writer.save(self.exported(tensors), moments, state)
        self.recorder.log(self.state.step, {"save_seconds": seconds[0]})

    # --- the end ---

    def on_train_end(self) -> None:
        gc.unfreeze()
        self.weights = self.exported(self._whole(self.decoder.state_dict()))

    def _whole(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return parallel.full(tensors) if self.job.trainer.strategy == "fsdp" else tensors

    def close(self) -> None:
        """Waits for the checkpoint that is being written. Raises OSError when it could not be."""
        self.heartbeat.beat("saving", self.state.step)
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            if hasattr(self, "recorder"):
                self.recorder.close()

    def result(self) -> dict[str, Any]:
        """What the run came to; the rate is the median over the steps of this process, the watts are a mean over it, of
        this rank's device, where its driver tells them."""
        watts = self.recorder.wattmeter.mean
        return {
            **self.state.final,
            "initial_val_loss": self.state.initial.get("val_loss"),
            "steps": self.state.step,
            "tokens": self.state.tokens,
            "seconds": self.state.seconds,
            "tokens_per_second": self.recorder.meter.median_tokens_per_second(),
            **({} if watts is None else {"watts": watts}),
            "interrupted": self.state.step < self.job.last_step or self._validation_missing(),
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


def eager() -> AbstractContextManager[None]:
    """Keeps validation from compiling graphs of its own, one for each shape of batch."""
    context: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return context
