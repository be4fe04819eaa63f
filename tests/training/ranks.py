"""A few steps of a small decoder with what several devices need, and nothing else; run as a program by every rank.

python ranks.py DIRECTORY STRATEGY DTYPE FIRST LAST [FROM]

Trains steps FIRST to LAST (not included), from the weights and moments in FROM if given. Rank 0 writes
``weights.safetensors``, ``moments.safetensors`` and ``seen.json``, which has what only a running rank can see.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from albor.config.schema.trainer import Trainer
from albor.models.decoder import Decoder
from albor.training import parallel
from tests.training.toy import MODEL, SEQ_LEN

ACCUMULATED, ROWS = 3, 4
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Module(pl.LightningModule):
    def __init__(self, decoder: Decoder, trainer: Trainer, start: Path | None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.decoder, self.config, self.start = decoder, trainer, start
        self.seen: dict[str, Any] = {"averaged": [], "validated": []}

    def configure_model(self) -> None:
        if isinstance(self.trainer.strategy, pl.strategies.ModelParallelStrategy):
            parallel.shard(self.decoder, self.config, self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.decoder.parameters(), lr=1e-2)

    def moments(self) -> dict[str, Tensor]:
        state = self.optimizers(use_pl_optimizer=False).state
        return {f"{name}.{key}": state[p][key] for name, p in self.decoder.named_parameters() for key in MOMENTS}

    def on_train_start(self) -> None:
        if self.start is None:
            return
        saved, state = load_file(self.start / "moments.safetensors"), self.optimizers(use_pl_optimizer=False).state
        for name, parameter in self.decoder.named_parameters():
            like = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
            whole = {key: saved[f"{name}.{key}"] for key in MOMENTS}
            state[parameter] = {key: value.detach() for key, value in parallel.distribute(whole, like).items()}

    def training_step(self, batches: list[Tensor], index: int) -> None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        mine = [batch[parallel.rank() :: parallel.world_size()] for batch in batches]
        valid = parallel.sum_ranks(torch.tensor(float(sum(batch[:, 1:].numel() for batch in mine))))
        for number, batch in enumerate(mine, start=1):
            with parallel.without_sync(self.trainer.strategy, self.decoder, last=number == ACCUMULATED):
                loss = self.decoder.loss_sum(batch[:, :-1], batch[:, 1:])
                self.manual_backward(loss / valid * parallel.world_size())
            self.seen["averaged"].append(self._averaged())
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            nats = self.decoder.loss_sum(mine[0][:, :-1], mine[0][:, 1:])
            self.seen["validated"].append(parallel.sum_ranks(nats).item())
        self.seen["elements"] = sum(
            (p.to_local() if isinstance(p, DTensor) else p).numel() for p in self.decoder.parameters()
        )

    def _averaged(self) -> bool:
        """Whether the gradients are those of all ranks together."""
        gradient = self.decoder.model.norm.weight.grad
        if gradient is None or isinstance(gradient, DTensor):
            return gradient is not None
        return torch.equal(parallel.sum_ranks(gradient), gradient * parallel.world_size())


class Steps:
    """Each step's micro-batches of all ranks together, as one batch of Lightning's."""

    def __init__(self, first: int, last: int) -> None:
        self.steps = range(first, last)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Tensor]]:
        for step in self.steps:
            generator = torch.Generator().manual_seed(step)
            yield [
                torch.randint(MODEL.vocab_size, (ROWS, SEQ_LEN + 1), generator=generator) for _ in range(ACCUMULATED)
            ]


def main(directory: Path, strategy: Any, dtype: str, first: int, last: int, start: Path | None) -> None:
    torch.manual_seed(0)
    decoder = Decoder(MODEL, getattr(torch, dtype))
    if start is not None:
        decoder.load_state_dict(load_file(start / "weights.safetensors"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    config = Trainer(warmup_steps=0, micro_batch_size=1, accelerator="cpu", devices=world, strategy=strategy)
    module = Module(decoder, config, start)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=world,
        strategy=parallel.lightning_strategy(config),
        plugins=[TorchElasticEnvironment() if world > 1 else LightningEnvironment()],
        max_epochs=1,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    parallel.without_sigterm_broadcast(trainer)
    broadcasts = []
    broadcast = dist.broadcast
    dist.broadcast = lambda *args, **options: broadcasts.append(args) or broadcast(*args, **options)  # type: ignore[func-returns-value]
    trainer.fit(module, Steps(first, last))
    weights, moments = parallel.full(dict(decoder.named_parameters())), parallel.full(module.moments())
    rank = parallel.rank()
    parallel.leave()
    if rank:
        assert weights == moments == {}
        return
    directory.mkdir(parents=True)
    save_file(weights, directory / "weights.safetensors")
    save_file(moments, directory / "moments.safetensors")
    (directory / "seen.json").write_text(json.dumps(module.seen | {"broadcasts": len(broadcasts)}))


if __name__ == "__main__":
    place, strategy, dtype, first, last, *start = sys.argv[1:]
    main(Path(place), strategy, dtype, int(first), int(last), Path(start[0]) if start else None)
