"""Where Triton's kernels run in tests: on a GPU, or with TRITON_INTERPRET=1 on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu")
NEEDS_CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]
NEEDS_KERNELS = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE.type == "cpu" and not INTERPRETED,
        reason="there is no CUDA device; with Triton installed, TRITON_INTERPRET=1 runs these on the CPU",
    ),
]
NEEDS_FP8 = pytest.mark.skipif(
    DEVICE.type == "cuda" and torch.cuda.get_device_capability() < (8, 9), reason="fp8 needs compute capability 8.9"
)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8e4nv": torch.float8_e4m3fn, "fp8e5": torch.float8_e5m2}
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


@contextmanager
def rounding_as_on_a_device() -> Iterator[None]:
    """Triton 3.6's interpreter cuts bf16 off, multiplies the bits of bf16 matrices, and loses the carry where fp8
    rounds up to a power of two. NumPy 2.4 does not take a loop's bound, an array of one number there, for a number."""
    if not INTERPRETED:
        yield
        return
    from triton.runtime import interpreter

    def convert(values: Any, source: Any, target: Any, rounding: Any) -> Any:
        tensor = torch.from_numpy(values.copy()).view(DTYPES[source.name]).to(DTYPES[target.name])
        return tensor.view(BITS[tensor.element_size()]).numpy()

    patch_tensor = interpreter._patch_lang_tensor

    def with_bounds(tensor: Any, scope: Any) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    builder = interpreter.InterpreterBuilder
    multiply = builder.create_dot

    def dot(self: Any, a: Any, b: Any, *others: Any) -> Any:
        float32 = interpreter.tl.float32
        a, b = (self.cast_impl(x, float32) if x.dtype.scalar.name == "bf16" else x for x in (a, b))
        return multiply(self, a, b, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_convert_float", convert)
        patch.setattr(builder, "create_dot", dot)
        patch.setattr(interpreter, "_patch_lang_tensor", with_bounds)
        yield
