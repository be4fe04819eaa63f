"""Two real processes over gloo, one process, and what passes between them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from safetensors.torch import load_file
from torch import Tensor

from albor.config.schema.trainer import Trainer
from albor.plan.processes import End, Processes
from albor.training import parallel
from albor.training.pretrain import fit

from .toy import MODEL, toy_job

RANKS = Path(__file__).with_name("ranks.py")
ROOT = Path(__file__).parents[2]
Launch = Callable[..., Path]


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Runs ranks.py once for each set of arguments; gives the directory that it wrote."""
    base = tmp_path_factory.mktemp("ranks")

    def run(
        strategy: str, world: int, dtype: str = "float32", *, steps: str = "0-4", start: Path | None = None
    ) -> Path:
        place = base / "-".join((strategy, str(world), dtype, steps, *([start.name] if start else [])))
        if not place.exists():
            command = [sys.executable, str(RANKS), str(place), strategy, dtype, *steps.split("-")]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            command += [str(start)] if start else []
            assert Processes(command, environment, count=world, logs=base).run("ranks.py") == End(0)
        return place

    return run


def tensors(place: Path) -> dict[str, Tensor]:
    read: Callable[[Path], dict[str, Tensor]] = load_file
    return read(place / "weights.safetensors") | read(place / "moments.safetensors")


def seen(place: Path) -> Any:
    return json.loads((place / "seen.json").read_text())


def assert_close(ours: Path, theirs: Path, rtol: float, atol: float) -> None:
    found = tensors(ours)
    for name, tensor in tensors(theirs).items():
        torch.testing.assert_close(found[name], tensor, rtol=rtol, atol=atol)


@pytest.mark.slow
def test_one_process_ddp_and_fsdp_train_the_same(launch: Launch) -> None:
    one, ddp, fsdp = launch("ddp", 1), launch("ddp", 2), launch("fsdp", 2)
    assert_close(ddp, one, rtol=1e-4, atol=1e-5)
    assert_close(fsdp, ddp, rtol=1e-5, atol=1e-6)
    assert seen(fsdp)["validated"] == pytest.approx(seen(one)["validated"], rel=1e-5)


@pytest.mark.slow
def test_gathering_in_bf16_trains_what_casting_does(launch: Launch) -> None:
    """The moments are the gradients' averages: the weights' first steps by AdamW hardly depend on their size."""
    ddp, fsdp = (tensors(launch(strategy, 2, "bfloat16")) for strategy in ("ddp", "fsdp"))
    for name, expected in ddp.items():
        if name.endswith("exp_avg"):
            assert (fsdp[name] - expected).norm() < 0.02 * expected.norm(), name


@pytest.mark.slow
def test_ranks_hold_shares_and_average_once_a_step(launch: Launch) -> None:
    one, ddp, fsdp = (seen(place) for place in (launch("ddp", 1), launch("ddp", 2), launch("fsdp", 2)))
    assert one["elements"] == ddp["elements"]
    assert one["elements"] / 2 <= fsdp["elements"] < one["elements"] / 2 * 1.1
    assert ddp["averaged"] == fsdp["averaged"] == [False, False, True] * 4


@pytest.mark.slow
@pytest.mark.parametrize(("wrote", "reads"), [(("fsdp", 2), ("ddp", 1)), (("ddp", 1), ("fsdp", 2)), (("fsdp", 2),) * 2])
def test_what_one_layout_saved_another_goes_on_from(launch: Launch, wrote: Any, reads: Any) -> None:
    half = launch(*wrote, steps="0-2")
    resumed = launch(*reads, steps="2-4", start=half)
    exact = wrote == reads
    assert_close(resumed, launch(*wrote), rtol=0 if exact else 1e-4, atol=0 if exact else 1e-5)


@pytest.mark.slow
def test_lightning_sends_nothing_round_before_a_batch(launch: Launch) -> None:
    assert seen(launch("ddp", 2))["broadcasts"] == seen(launch("fsdp", 2))["broadcasts"] == 0


def test_lightning_still_has_the_hooks_that_are_switched_off() -> None:
    """Another version of Lightning may name them otherwise: then training runs slower, and this tells."""
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    assert hasattr(trainer.fit_loop.epoch_loop, parallel.SIGTERM_BROADCAST)
    assert hasattr(trainer._signal_connector, parallel.SIGNAL_HANDLERS)
    before = signal.getsignal(signal.SIGTERM)
    parallel.without_sigterm_broadcast(trainer)
    trainer._signal_connector.register_signal_handlers()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_strategy_is_the_configs() -> None:
    def strategy(**changes: Any) -> Any:
        return parallel.lightning_strategy(Trainer(warmup_steps=0, micro_batch_size=1, accelerator="cpu", **changes))

    assert strategy() == strategy(strategy="fsdp") == "auto"
    assert isinstance(strategy(devices=2), DDPStrategy)
    assert isinstance(strategy(devices=2, nodes=2, strategy="fsdp"), ModelParallelStrategy)


def test_whole_tensors_are_copies() -> None:
    """A checkpoint is written while training goes on."""
    weight = torch.ones(3)
    whole = parallel.full({"weight": weight})
    weight += 1
    assert whole["weight"].tolist() == [1, 1, 1]
    assert parallel.distribute(whole, {"weight": weight})["weight"].tolist() == [1, 1, 1]


@pytest.mark.slow
def test_ranks_that_see_different_checkpoints_do_not_train_apart(tmp_path: Path) -> None:
    fit(MODEL, toy_job(tmp_path / "rank-1" / "checkpoints", total_steps=4))
    command = [sys.executable, str(RANKS.with_name("apart.py")), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    end = Processes(command, environment, count=2, logs=tmp_path).run("apart.py")
    assert end.code == 1 and "the ranks go on from different steps: 0, 4 of ranks 0 to 1" in end.text
