"""The arithmetic of smaller models: the shape that pruning leaves, the bytes of a quantised file, and which shape fits
into so many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from albor.config.gguf_layout import block_size, gguf_bytes
from albor.config.schema.model import Model
from albor.config.schema.prune import Depth, Heads, Prune, Sparse, Storage, Target, Width
from albor.errors import AlborError


def pruned_shape(model: Model, method: Prune) -> Model:
    """What a method makes of a model's shape; one that only sets weights to zero leaves it.

    Raises:
        AlborError: nothing would be left, or more than there is; or a pattern does not fit the matrices.
    """
    if isinstance(method, Depth):
        share = round(model.num_hidden_layers * (1 - method.ratio))
        layers = _left("layers", "blocks", model.num_hidden_layers, method.layers, share)
        return replace(model, num_hidden_layers=layers)
    if isinstance(method, Width):
        wide = model.intermediate_size
        share = (
            min(wide, round(wide * (1 - method.ratio) / method.multiple) * method.multiple) if method.ratio else wide
        )
        channels = _left("intermediate_size", "channels", wide, method.intermediate_size, share)
        return replace(fewer_heads(model, method), intermediate_size=channels)
    if isinstance(method, Target):
        whole = quantized_bytes(model, method)
        size = method.bytes if method.share is None else int(method.share * whole)
        return fit_size(fewer_heads(model, method), size, method, method.multiple)
    if method.pattern != "unstructured":
        _refuse_pattern(model, method)
    return model


def fewer_heads(model: Model, method: Heads) -> Model:
    """The shape with the heads that are left, each as wide as before. Raises AlborError."""
    groups = model.num_key_value_heads
    each = model.num_attention_heads // groups
    asked = method.num_attention_heads
    if asked is not None and asked % each:
        raise AlborError(
            f"{asked} heads are not made of groups of {each}, which share a key and value head",
            help=f"give prune.num_attention_heads a multiple of {each}",
        )
    share = round(groups * (1 - method.head_ratio)) * each
    heads = _left("num_attention_heads", "heads", model.num_attention_heads, asked, share)
    if heads == model.num_attention_heads:
        return model
    if model.hidden_size % heads and not model.qk_norm:
        some = [n for n in range(each, model.num_attention_heads, each) if model.hidden_size % n == 0]
        raise AlborError(
            f"{heads} heads do not divide a width of {model.hidden_size:,}, which transformers asks of every Llama",
            help=f"keep {' or '.join(map(str, some)) or 'all of them'}; models with model.qk_norm=true may have any",
        )
    return replace(model, num_attention_heads=heads, num_key_value_heads=heads // each, head_dim=model.head_width)


def quantized_bytes(model: Model, storage: Storage) -> int:
    """Bytes of the model's file."""
    return gguf_bytes(model, storage.matrices, storage.embedding, tokenizer_bytes=storage.overhead)


def fit_size(model: Model, size: int, storage: Storage, multiple: int = 1) -> Model:
    """The model with fewer blocks and feed-forward channels whose file has at most ``size`` bytes.

    For each number of blocks there is a widest feed-forward layer that fits, so many parameters being left in any
    case; of these pairs the one is taken whose shares of the model's blocks and of its channels are nearest to each
    other: neither depth nor width bears the cut alone. Of equals the deeper. Channels are a multiple of ``multiple``
    and of the format's block. A model that fits comes back as it is.

    Raises:
        AlborError: even one block of the narrowest layer is larger.
    """
    if quantized_bytes(model, storage) <= size:
        return model
    step = math.lcm(multiple, block_size(storage.matrices))
    fitting = list(_widest(model, size, storage, step))
    if not fitting:
        least = replace(model, num_hidden_layers=1, intermediate_size=min(step, model.intermediate_size))
        raise AlborError(
            f"no depth and width fit into {size:,} bytes: one block of {least.intermediate_size} channels takes "
            f"{quantized_bytes(least, storage):,}",
            help="raise prune.bytes or prune.share, or store the embedding in a smaller format (prune.embedding=q5_0)",
        )

    def imbalance(fit: Model) -> tuple[float, int]:
        depth = fit.num_hidden_layers / model.num_hidden_layers
        return abs(math.log(depth * model.intermediate_size / fit.intermediate_size)), -fit.num_hidden_layers

    return min(fitting, key=imbalance)


def _refuse_pattern(model: Model, method: Sparse) -> None:
    """Raises AlborError when n:m cannot have the sparsity, or a row of a matrix is not made of groups of m."""
    kept, among = map(int, method.pattern.split(":"))
    share = 1 - kept / among
    if method.sparsity != share:
        raise AlborError(
            f"{method.pattern} removes {share:.0%}, not {method.sparsity:.0%}",
            help=f"take prune.sparsity={share:g}, or prune.pattern=unstructured",
        )
    for width in (model.hidden_size, model.intermediate_size):
        if width % among:
            raise AlborError(
                f"{width} inputs are not made of groups of {among}", help="take prune.pattern=unstructured"
            )


def _left(key: str, things: str, there: int, asked: int | None, share: int) -> int:
    """What is kept of so many things. Raises AlborError."""
    kept = share if asked is None else asked
    if not 1 <= kept <= there:
        raise AlborError(f"{kept} of {there} {things} cannot be kept", help=f"give prune.{key} between 1 and {there}")
    return kept


def _widest(model: Model, size: int, storage: Storage, step: int) -> Iterator[Model]:
    """For each number of blocks, the model with most channels that fits."""
    widths = [*range(step, model.intermediate_size, step), model.intermediate_size]
    for layers in range(1, model.num_hidden_layers + 1):
        fits = (replace(model, num_hidden_layers=layers, intermediate_size=width) for width in reversed(widths))
        yield from (fit for fit in [next((f for f in fits if quantized_bytes(f, storage) <= size), None)] if fit)
