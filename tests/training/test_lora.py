import copy
import dataclasses

import peft
import pytest
import torch

from albor.config.schema.finetune import Lora
from albor.config.schema.model import Model
from albor.config.schema.optim import AdamW, Muon
from albor.models import decoder as decoders
from albor.models import fused as kernels
from albor.models.decoder import Decoder
from albor.training import optimizers
from albor.training.adapted import without_adapters
from albor.training.errors import TrainingError
from albor.training.lora import add_adapters, is_adapter, merge, merge_adapters

from .toy import MODEL

TOKENS = torch.arange(24).view(2, 12) % MODEL.vocab_size
KINDS = pytest.mark.parametrize("dora", [False, True])


def adapted(lora: Lora, *, seed: int = 0, moved: bool = True, dtype: torch.dtype = torch.float32) -> Decoder:
    """A decoder whose adapters do something, unless ``moved`` is false."""
    torch.manual_seed(seed)
    made = Decoder(MODEL, dtype)
    add_adapters(made, lora)
    if moved:
        for name, parameter in made.named_parameters():
            if is_adapter(name):
                parameter.data.add_(torch.randn_like(parameter), alpha=0.05)
    return made


def plain() -> Decoder:
    torch.manual_seed(0)
    return Decoder(MODEL)


@KINDS
def test_new_adapters_change_nothing(dora):
    made = adapted(Lora(r=4, dora=dora), moved=False).train()
    torch.testing.assert_close(made(TOKENS), plain()(TOKENS), rtol=0, atol=1e-6 if dora else 0)


@KINDS
def test_merged_weights_compute_what_adapters_do(dora):
    lora = Lora(r=4, dora=dora)
    made = adapted(lora).eval()
    weights = merge_adapters(made, lora)
    assert weights.keys() == plain().state_dict().keys() and len(weights) == MODEL.num_tensors
    merged = Decoder(MODEL)
    merged.load_state_dict(weights)
    assert (merged(TOKENS) - plain()(TOKENS)).abs().max() > 1e-3
    torch.testing.assert_close(merged(TOKENS), made(TOKENS), rtol=0, atol=1e-6)
    untouched = [name for name in weights if "k_proj" in name or "norm" in name or "embed" in name]
    assert all(torch.equal(weights[name], plain().state_dict()[name]) for name in untouched)


@KINDS
def test_layers_and_merging_are_those_of_peft(dora):
    lora = Lora(r=4, dora=dora, dropout=0.0)
    ours = adapted(lora)
    theirs = plain()
    config = peft.LoraConfig(r=4, lora_alpha=32, target_modules=list(lora.targets), use_dora=dora)
    peft.inject_adapter_in_model(config, theirs)  # takes its own layers for what is a torch.nn.Linear
    theirs.load_state_dict(ours.state_dict())
    losses = [model.loss_sum(TOKENS, TOKENS.roll(-1, 1)) for model in (ours, theirs)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses)
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert a.requires_grad == b.requires_grad == is_adapter(name)
        if is_adapter(name):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)
    for name, module in list(theirs.named_modules()):
        if isinstance(module, peft.tuners.lora.Linear):
            module.merge()
            merged = merge_adapters(ours, lora)[f"{name}.weight"]
            torch.testing.assert_close(module.get_base_layer().weight.data, merged, rtol=1e-6, atol=1e-6)


def test_the_number_of_parameters_and_tensors_at_350m():
    model = Model(name="350m", hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, num_key_value_heads=4,
                  intermediate_size=4096, vocab_size=32768)  # fmt: skip
    lora = Lora()
    with torch.device("meta"):
        made = Decoder(model)
        add_adapters(made, lora)
        assert sum(p.numel() for p in made.parameters() if p.requires_grad) == 7_962_624
        assert len(merge_adapters(made, lora)) == 218
        every = Decoder(model)
        add_adapters(every, dataclasses.replace(lora, targets=(*lora.targets, "k_proj")))
    assert sum(p.numel() for p in every.parameters() if p.requires_grad) == 7_962_624 + 24 * 16 * (1024 + 256)


@pytest.mark.parametrize("targets", [("w_proj",), ("q_proj", "embed_tokens"), ("lm_head",), ("self_attn",), ()])
def test_other_targets_are_refused_with_those_there_are(targets):
    with pytest.raises(TrainingError, match="matrix") as refused:
        add_adapters(plain(), Lora(targets=targets))
    names = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
    assert refused.value.help is not None and names in refused.value.help


def test_without_peft_it_is_named(monkeypatch):
    monkeypatch.setattr("albor.training.lora.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="needs peft") as refused:
        add_adapters(plain(), Lora())
    assert refused.value.help == "pip install 'albor[finetune]'"


def test_dropout_acts_on_the_adapter_alone_and_only_in_training():
    made = adapted(Lora(r=4, dropout=0.5))
    same = made.eval()(TOKENS)
    assert torch.equal(made(TOKENS), same)
    made.train()
    assert not torch.equal(made(TOKENS), made(TOKENS))
    with without_adapters(made):
        torch.testing.assert_close(made(TOKENS), plain()(TOKENS), rtol=0, atol=0)
    assert [p.requires_grad for p in made.parameters()] == [is_adapter(n) for n, _ in made.named_parameters()]


@KINDS
def test_in_bf16_adapters_compute_in_bf16_with_float32_masters(dora):
    lora = Lora(r=4, dora=dora)
    made = adapted(lora, dtype=torch.bfloat16).eval()
    out = made(TOKENS)
    assert out.dtype == torch.bfloat16 and {p.dtype for p in made.parameters()} == {torch.float32}
    torch.testing.assert_close(out.float(), adapted(lora).eval()(TOKENS), rtol=0.1, atol=0.1)


@pytest.mark.slow
@KINDS
def test_a_compiled_adapted_decoder_computes_the_same(dora):
    eager = adapted(Lora(r=4, dora=dora, dropout=0.0))
    compiled = copy.deepcopy(eager)
    compiled.compile_regions()
    for model in (eager, compiled):
        model.loss_sum(TOKENS, TOKENS).backward()
    for a, b in zip(eager.parameters(), compiled.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)


class OnGpu(torch.Tensor):
    """A tensor that says it lies on a GPU."""

    is_cuda = True


class Fused(Exception):
    """A path that reads weights past the layers was taken."""


def fused(*arguments):
    raise Fused


class Rotate:
    @staticmethod
    def apply(x, cos, sin):
        low, high = x.chunk(2, dim=-1)
        return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


def test_adapted_layers_are_not_passed_over_on_a_gpu(monkeypatch):
    for name in ("rotated_heads", "feed_forward"):
        monkeypatch.setattr(kernels, name, fused)
    monkeypatch.setattr(kernels, "Rotate", Rotate)
    x = torch.randn(2, 12, MODEL.hidden_size)
    rotation = decoders.rotary(torch.arange(12), MODEL.head_width, MODEL.rope_theta, x.dtype)
    calls = (
        lambda block, x: torch.cat([part.flatten(2) for part in block.self_attn._heads(x, rotation)], dim=2),
        lambda block, x: block.mlp(x),
    )
    (bare, *_), (ours, *_) = plain().model.layers, adapted(Lora(r=4)).eval().model.layers
    for call in calls:
        with pytest.raises(Fused):
            call(bare, x.as_subclass(OnGpu))
        torch.testing.assert_close(call(ours, x.as_subclass(OnGpu)).as_subclass(torch.Tensor), call(ours, x))


def test_optimizers_take_what_is_trained_and_decay_its_matrices():
    made = adapted(Lora(r=4, dora=True))
    trained = {p for p in made.parameters() if p.requires_grad}
    (adamw,) = optimizers.build(made, AdamW(lr=1e-3, weight_decay=0.01), compile=False)
    decays = {group["weight_decay"]: group["params"] for group in adamw.param_groups}
    assert {p for group in decays.values() for p in group} == trained
    assert all(p.dim() == 2 for p in decays[0.01]) and all(p.dim() == 1 for p in decays[0.0])
    rest, muon = optimizers.build(made, Muon(lr=1e-3, matrix_lr=1e-3), compile=False)
    assert all(p.dim() == 2 for group in muon.param_groups for p in group["params"])
    assert all(p.dim() == 1 for group in rest.param_groups for p in group["params"])
    assert len(optimizers.build(adapted(Lora(r=4)), Muon(lr=1e-3, matrix_lr=1e-3), compile=False)) == 1


def test_merging_nothing_is_nothing():
    assert merge({}, Lora()) == {}
