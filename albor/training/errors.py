"""Why training stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from albor.errors import AlborError

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""What a CPU's full memory is known by: torch has no type for it."""


class TrainingError(AlborError):
    """Training that cannot go on."""

    code = "E-TRAIN"
    exit_code = 1

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002 - the house's word for it
        super().__init__(message, help)


@contextmanager
def device_errors() -> Iterator[None]:
    """Turns what a device raises, a full memory or a kernel that failed, into a TrainingError with what to do."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or CPU_ALLOCATOR in str(error):
            raise TrainingError(
                f"the device's memory is full: {first_line(error)}",
                help="a smaller trainer.micro_batch_size with as much more trainer.grad_accum: albor fit counts what "
                "fits; or trainer.activation_checkpointing=true",
            ) from error
        if not isinstance(error, torch.AcceleratorError):
            raise
        raise TrainingError(
            f"the device failed: {first_line(error)}",
            help="the same command goes on from the last checkpoint; if it fails again, CUDA_LAUNCH_BLOCKING=1 makes "
            "the run's traceback.txt show where, and the kernel's log (dmesg) what the driver saw",
        ) from error


def first_line(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0].rstrip(".")
    return line.partition(f"{CPU_ALLOCATOR}: ")[2] or line
