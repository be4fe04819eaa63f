"""The optimizers: AdamW and Muon, what they decay, skip, keep and take up again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing.spawn import spawn

from albor.config.schedule import lr_factor
from albor.config.schema.optim import AdamW, Muon
from albor.config.schema.trainer import Trainer
from albor.models.decoder import Decoder
from albor.training import optimizers, parallel
from albor.training.errors import TrainingError
from albor.training.optimizers import muon
from albor.training.stepper import Stepper

from .toy import MODEL

ADAMW, MUON = AdamW(lr=1e-2), Muon(lr=1e-2, matrix_lr=2e-2)
BOTH = pytest.mark.parametrize("optim", [ADAMW, MUON], ids=["adamw", "muon"])
YES, NO = torch.tensor(True), torch.tensor(False)
MATRICES = 7 * MODEL.num_hidden_layers


class Run:
    """A toy decoder, its optimizers, and gradients that depend on the step alone."""

    def __init__(self, optim: AdamW | Muon) -> None:
        torch.manual_seed(0)
        self.module = Decoder(MODEL)
        self.optimizers = optimizers.build(self.module, optim, compile=False)

    def step(self, number: int, finite: Tensor = YES, gradient: float | None = None) -> None:
        generator = torch.Generator().manual_seed(number)
        for parameter in self.module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            if gradient is not None:
                parameter.grad.fill_(gradient)
        optimizers.set_rate(self.optimizers, 1 / number)
        optimizers.step_if(self.optimizers, finite)

    def state(self) -> dict[str, Tensor]:
        return optimizers.state_by_name(self.module, self.optimizers)

    def bits(self) -> dict[str, bytes]:
        tensors = {**self.module.state_dict(), **self.state()}
        return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@BOTH
@given(script=st.lists(st.sampled_from([None, 0.0, float("nan"), float("inf")]), min_size=1, max_size=8))
@settings(max_examples=25)
def test_a_skipped_step_leaves_every_bit(optim: AdamW | Muon, script: list[float | None]) -> None:
    """The steps that are taken are those of a run that never saw the others."""
    skipping, clean = Run(optim), Run(optim)
    for number, gradient in enumerate(script, start=1):
        if gradient is None:
            skipping.step(number)
            clean.step(number)
            continue
        before = skipping.bits()
        skipping.step(number, NO, gradient)
        assert before.items() <= skipping.bits().items()
    assert clean.bits().items() <= skipping.bits().items()


@BOTH
@given(cut=st.integers(0, 5))
@settings(max_examples=6)
def test_resumed_is_continuous(optim: AdamW | Muon, cut: int) -> None:
    through, first, resumed = Run(optim), Run(optim), Run(optim)
    for number in range(1, 7):
        through.step(number)
        if number <= cut:
            first.step(number)
    resumed.module.load_state_dict(first.module.state_dict())
    saved = first.state()
    optimizers.restore(resumed.module, resumed.optimizers, saved)
    assert resumed.bits() == first.bits()
    kept = first.bits()
    for number in range(cut + 1, 7):
        resumed.step(number)
    assert resumed.bits() == through.bits()
    assert first.bits() == kept, "what was restored is a copy"


def test_what_the_state_holds() -> None:
    adamw, both = Run(ADAMW), Run(MUON)
    assert adamw.state() == both.state() == {}
    adamw.step(1)
    both.step(1)
    names = {name for name, _ in adamw.module.named_parameters()}
    assert adamw.state().keys() == {f"{n}.{m}" for n in names for m in ("step", "exp_avg", "exp_avg_sq")}
    matrices = {n.removesuffix(".momentum_buffer") for n in both.state() if n.endswith(".momentum_buffer")}
    assert len(matrices) == MATRICES
    assert all(name.startswith("model.layers.") and name.endswith("_proj.weight") for name in matrices)
    rest = {n.rpartition(".")[0] for n in both.state() if n.endswith(".exp_avg")}
    assert rest == names - matrices and "model.embed_tokens.weight" in rest
    assert all(tensor.dtype == torch.float32 for tensor in both.state().values())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state | {"model.other.weight.exp_avg": torch.zeros(1)},
        lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("norm.weight.step")},
        lambda state: Run(MUON).state() | {"model.layers.0.mlp.up_proj.weight.momentum_buffer": torch.zeros(48, 32)},
    ],
    ids=["of another model", "a moment is missing", "of another optimizer"],
)
def test_another_state_is_refused(spoil: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    run = Run(ADAMW)
    run.step(1)
    before = run.bits()
    with pytest.raises(TrainingError, match="is not of this run"):
        optimizers.restore(run.module, run.optimizers, spoil(run.state()))
    assert run.bits() == before


@BOTH
def test_only_matrices_decay(optim: AdamW | Muon) -> None:
    """With a gradient of zero nothing but the decay moves a weight: (1 − lr·decay)·w."""
    run = Run(optim)
    before = {name: p.detach().clone() for name, p in run.module.named_parameters()}
    run.step(1, gradient=0.0)
    for name, parameter in run.module.named_parameters():
        lr = 2e-2 if optim is MUON and name.endswith("_proj.weight") else 1e-2
        kept = 1 - lr * optim.weight_decay if parameter.dim() == 2 else 1
        torch.testing.assert_close(parameter.detach(), before[name] * kept, rtol=1e-6, atol=0)


def test_frozen_parameters_are_left_alone() -> None:
    module = Decoder(MODEL)
    frozen = module.get_parameter("model.layers.0.self_attn.q_proj.weight").requires_grad_(False)
    groups = [group for o in optimizers.build(module, MUON, compile=False) for group in o.param_groups]
    held = {p for group in groups for p in group["params"]}
    assert held == set(module.parameters()) - {frozen}


@BOTH
@given(factors=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_the_rate_is_a_share_of_the_peak(optim: AdamW | Muon, factors: list[float]) -> None:
    run = Run(optim)
    peaks = {2e-2, 1e-2} if optim is MUON else {1e-2}
    for factor in factors:
        optimizers.set_rate(run.optimizers, factor)
        groups = [group for o in run.optimizers for group in o.param_groups]
        assert {group["peak_lr"] for group in groups} == peaks
        assert all(group["lr"] == group["peak_lr"] * factor for group in groups)


def test_the_factor_is_the_schedules() -> None:
    optim = replace(MUON, schedule="wsd", min_lr_ratio=0.05, decay_fraction=0.4)
    for step in range(1, 31):
        expected = lr_factor(
            step, schedule="wsd", warmup_steps=5, total_steps=30, min_lr_ratio=0.05, decay_fraction=0.4
        )
        assert optimizers.lr_factor_at(optim, step, 5, 30) == expected
    assert [optimizers.lr_factor_at(optim, step, 5, 30) for step in (5, 30)] == [1.0, 0.05]


# --- Muon against torch's ---

SHAPES = [(32, 32), (32, 8), (8, 32), (48, 20), (1, 8)]
shapes = st.lists(st.sampled_from(SHAPES), min_size=1, max_size=12)


def stacked(shapes: list[tuple[int, int]], seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


@given(shapes=shapes, chunk=st.sampled_from([1, 700, 3000, 2**24]), momentum=st.sampled_from([0.0, 0.6, 0.95]))
@settings(max_examples=25)
def test_muon_is_torchs(shapes: list[tuple[int, int]], chunk: int, momentum: float) -> None:
    """Momenta to the bit; weights within bfloat16's rounding of the updates, however the matrices are batched."""
    optim = replace(MUON, momentum=momentum, newton_schulz_steps=5)
    ours, theirs = stacked(shapes, 1), stacked(shapes, 1)
    mine = muon.Muon(ours, optim, compile=False)
    reference = torch.optim.Muon(
        theirs, lr=2e-2, weight_decay=0.1, momentum=momentum, ns_steps=5, adjust_lr_fn="match_rms_adamw"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(muon, "CHUNK", chunk)
        patch.setattr(muon, "precision", lambda device: torch.bfloat16)
        for step, factor in itertools.product(range(3), (1.0, 0.5)):
            for optimizer in (mine, reference):
                optimizer.param_groups[0]["lr"] = 2e-2 * factor
            gradients = stacked(shapes, 10 + step)
            for one, other, gradient in zip(ours, theirs, gradients, strict=True):
                one.grad, other.grad = gradient.detach().clone(), gradient.detach().clone()
            mine.step()
            reference.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.state[one]["momentum_buffer"], reference.state[other]["momentum_buffer"])
        update = 2e-2 * 0.2 * max(one.shape) ** 0.5
        assert (one - other).abs().max() < 0.02 * update


@given(shape=st.sampled_from([(4, 64, 64), (3, 16, 64), (3, 64, 16), (2, 128, 96)]), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_singular_values_come_near_one(shape: tuple[int, int, int], seed: int) -> None:
    """Each matrix by itself: UΣVᵀ with Σ from 0.05 to 1, scaled anyhow, becomes USVᵀ with S in the quintic's band."""
    generator = torch.Generator().manual_seed(seed)
    count, rows, columns = shape
    u, _, vh = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = 0.05 + 0.95 * torch.rand(count, min(rows, columns), generator=generator)
    scale = 10 ** torch.linspace(-6, 6, count).view(-1, 1, 1)
    made = muon.orthogonalise(scale * (u * values.unsqueeze(1)) @ vh, 5).float()
    inside = u.mT @ made @ vh.mT
    assert torch.linalg.svdvals(made).min() > 0.3 and torch.linalg.svdvals(made).max() < 1.5
    off = inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 0.1, "the singular vectors stay"


@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=3), chunk=st.integers(1, 40_000))
def test_chunks_are_of_one_shape_and_bounded(counts: list[int], chunk: int) -> None:
    kinds = [(8, 8), (8, 32), (32, 8)]
    matrices = [
        nn.Parameter(torch.empty(k, device="meta")) for k, n in zip(kinds, counts, strict=False) for _ in range(n)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(muon, "CHUNK", chunk)
        made = list(muon.chunks(matrices))
    assert [id(p) for group in made for p in group] == [id(p) for p in matrices]
    for group in made:
        assert len({p.shape for p in group}) == 1
        assert len(group) == 1 or sum(p.numel() for p in group) <= chunk
    sizes: dict[torch.Size, set[int]] = {}
    for group in made:
        sizes.setdefault(group[0].shape, set()).add(len(group))
    assert all(max(found) - min(found) <= 1 for found in sizes.values())


@pytest.mark.slow
def test_compiled_muon_is_the_eager_one() -> None:
    """Within rounding; another rate, or a step to skip, does not compile it again."""
    counters = torch._dynamo.utils.counters["stats"]
    before = counters["unique_graphs"]
    eager, compiled = stacked([(32, 48)] * 3, 1), stacked([(32, 48)] * 3, 1)
    start = [p.detach().clone() for p in eager]
    momenta = {name: [torch.zeros(32, 48) for _ in range(3)] for name in ("eager", "compiled")}
    for step, found_inf in enumerate((0.0, 1.0, 0.0), start=1):
        gradients = [p.detach() for p in stacked([(32, 48)] * 3, 10 + step)]
        scalars = torch.tensor(found_inf), torch.tensor(0.02 / step), torch.tensor(1 - 0.002 / step)
        for update, name, matrices in (
            (muon.update_chunk, "eager", eager),
            (muon.compiled(), "compiled", compiled),
        ):
            update([p.detach() for p in matrices], gradients, momenta[name], *scalars, momentum=0.95, steps=5)
    assert counters["unique_graphs"] == before + 1
    for one, other, first in zip(eager, compiled, start, strict=True):
        moved = (one - first).abs().max()
        assert moved > 0 and (one - other).abs().max() < 0.05 * moved
    for one, other in zip(*momenta.values(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_sharded_is_whole(tmp_path: Path) -> None:
    """Two ranks under FSDP clip, skip, step, save and resume as one process does."""
    spawn(compare_sharded, (tmp_path,), nprocs=2)  # raises what a rank raises
    assert {path.name for path in tmp_path.glob("compared-*")} == {"compared-0", "compared-1"}, "a rank ended early"


def compare_sharded(rank: int, directory: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{directory}/rendezvous", rank=rank, world_size=2)
    optim = AdamW(lr=1e-4, clip_norm=0.5, zclip=1.0)
    trainer = Trainer(warmup_steps=0, micro_batch_size=1, accelerator="cpu", devices=2, strategy="fsdp")
    runs = []
    for sharded in (False, True):
        torch.manual_seed(0)
        module = Decoder(MODEL)
        if sharded:
            parallel.shard(module, trainer, init_device_mesh("cpu", (2,)))
        stepper, norms = stepper_of(module, optim), []
        for step in range(28):
            tokens = torch.randint(61, (2, 9), generator=torch.Generator().manual_seed(step))
            loss = module.loss_sum(tokens[:, :-1], tokens[:, 1:]) / 16
            (loss * (float("nan") if step == 3 else 1.0)).backward()
            norms.append([norm.item() for norm in stepper.step(loss.detach(), 1.0)])
        runs.append((module, stepper, norms))
    (one, alone, one_norms), (many, stepper, norms) = runs
    torch.testing.assert_close(torch.tensor(norms), torch.tensor(one_norms), rtol=1e-3, atol=0, equal_nan=True)
    assert stepper.state()["clip"] == pytest.approx(alone.state()["clip"], rel=1e-2)
    moments = parallel.full(stepper.moments())
    weights = parallel.full(dict(many.named_parameters()))
    if rank == 0:
        torch.testing.assert_close(weights, dict(one.state_dict()), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(moments, alone.moments(), rtol=1e-3, atol=1e-4)
        assert {value.item() for name, value in moments.items() if name.endswith(".step")} == {27.0}
    given = [moments]
    torch.distributed.broadcast_object_list(given)
    again = stepper_of(many, optim)
    again.restore(given[0], stepper.state())
    assert again.state() == stepper.state()
    restored = again.moments()
    for name, tensor in stepper.moments().items():
        assert type(restored[name]) is type(tensor)
        local, other = (getattr(t, "_local_tensor", t) for t in (tensor, restored[name]))
        assert torch.equal(local, other)
    with pytest.raises(TrainingError, match="whole matrices"):
        optimizers.build(many, MUON, compile=False)
    torch.distributed.destroy_process_group()
    (directory / f"compared-{rank}").touch()


def stepper_of(module: Decoder, optim: AdamW) -> Stepper:
    built = optimizers.build(module, optim, compile=False)
    return Stepper(module, optim, built, torch.device("cpu"), fp8_tokens=None)
