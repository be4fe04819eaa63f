import math

import pytest
import torch
import torch.nn.functional as F

from albor.config.schema.model import Model
from albor.models.decoder import Decoder, rotary, rotate
from albor.models.loss import linear_cross_entropy


@pytest.mark.parametrize(
    ("dims", "parameters", "tensors"),
    [
        ((192, 6, 6, 2, 512, 8192), 3_934_656, 56),
        ((384, 8, 6, 2, 1024, 8192), 15_735_168, 74),
        ((512, 12, 8, 2, 2048, 32768), 62_403_072, 110),
        ((1024, 24, 16, 4, 4096, 32768), 398_509_056, 218),
    ],
)
def test_sizes_are_those_of_the_specification(dims, parameters, tensors):
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
             "vocab_size")  # fmt: skip
    config = Model(name="m", **dict(zip(names, dims, strict=True)))
    with torch.device("meta"):
        state = Decoder(config).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == parameters == config.num_parameters
    assert len(state) == tensors == config.num_tensors


@pytest.mark.parametrize(
    "dims", [{}, {"hidden_size": 192, "num_attention_heads": 6, "num_hidden_layers": 6, "vocab_size": 8192}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_at_initialisation_is_that_of_a_uniform_guess(dims, dtype, decoder):
    model = decoder(dtype=dtype, **dims)
    vocab = model.config.vocab_size
    tokens = torch.randint(0, vocab, (4, 129))
    loss = model.loss_sum(tokens[:, :-1], tokens[:, 1:]).item() / (4 * 128)
    assert loss == pytest.approx(math.log(vocab), rel=0.02)


def test_what_writes_to_the_residual_stream_starts_smaller(decoder):
    model = decoder(hidden_size=256, num_hidden_layers=8)
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            assert parameter.std().item() == pytest.approx(0.02 / 4, rel=0.05)
        elif parameter.dim() == 2:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.05)
        else:
            assert torch.equal(parameter, torch.ones_like(parameter))


@pytest.mark.contract("C-KERNEL-010", level=2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_parameter_has_a_float32_gradient(dtype, decoder):
    model = decoder(dtype=dtype)
    tokens = torch.randint(0, 97, (2, 17))
    model.loss_sum(tokens[:, :-1], tokens[:, 1:]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32, name
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_bf16_computes_nearly_what_float32_does(decoder):
    tokens = torch.randint(0, 97, (2, 32))
    exact, rounded = decoder(), decoder(dtype=torch.bfloat16)
    logits = rounded(tokens)
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - exact(tokens)).abs().max() < 0.02 * exact(tokens).abs().max()


@pytest.mark.contract("C-KERNEL-011", level=2)
def test_grouped_attention_with_as_many_groups_as_heads_is_multi_head_attention(decoder):
    """Repeating the key and value heads of a grouped model gives a multi-head model with the same function."""
    grouped = decoder()
    full = decoder(num_key_value_heads=4)
    state = grouped.state_dict()
    for name, tensor in state.items():
        if "k_proj" in name or "v_proj" in name:
            state[name] = tensor.unflatten(0, (2, 16)).repeat_interleave(2, dim=0).flatten(0, 1)
    full.load_state_dict(state)
    tokens = torch.randint(0, 97, (2, 20))
    torch.testing.assert_close(full(tokens), grouped(tokens), rtol=1e-5, atol=1e-6)


def test_no_token_sees_a_later_one(decoder):
    model = decoder()
    tokens = torch.randint(0, 97, (1, 20))
    changed = tokens.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % 97
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :12], after[:, :12], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, 12:], after[:, 12:])


def test_rotation_depends_on_distance_only():
    q, k = torch.randn(2, 1, 1, 1, 16).unbind()

    def product(i: int, j: int) -> float:
        positions = torch.tensor([i, j])
        cos, sin = rotary(positions, 16, 10_000.0, torch.float32)
        return (rotate(q, (cos[:1], sin[:1])) * rotate(k, (cos[1:], sin[1:]))).sum().item()

    assert product(3, 1) == pytest.approx(product(103, 101), abs=1e-4)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-4)


@pytest.mark.parametrize("vocab", [50, 300_000])  # one chunk, and several
def test_linear_cross_entropy_is_that_of_torch(vocab):
    torch.manual_seed(0)
    hidden = torch.randn(20, 8, requires_grad=True)
    weight = torch.randn(vocab, 8, requires_grad=True)
    labels = torch.randint(0, vocab, (20,))
    labels[::3] = -100
    ours = linear_cross_entropy(hidden, weight, labels)
    grads = torch.autograd.grad(ours * 0.5, (hidden, weight))
    theirs = F.cross_entropy(hidden @ weight.T, labels, reduction="sum", ignore_index=-100)
    expected = torch.autograd.grad(theirs * 0.5, (hidden, weight))
    torch.testing.assert_close(ours, theirs, rtol=5e-6, atol=1e-5)  # sums of 300,000 terms, in another order
    torch.testing.assert_close(grads, expected, rtol=1e-4, atol=5e-5)  # torch is 3e-4 off float64 itself
    with torch.no_grad():
        assert linear_cross_entropy(hidden, weight, labels).item() == ours.item()


def test_ignored_labels_leave_no_trace():
    hidden = torch.randn(5, 8, requires_grad=True)
    loss = linear_cross_entropy(hidden, torch.randn(11, 8), torch.full((5,), -100))
    loss.backward()
    assert loss.item() == 0 and hidden.grad is not None and not hidden.grad.any()
