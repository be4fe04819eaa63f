"""Training checkpoints: directories that are whole or absent, and are model directories at the same time."""

from albor.runs.checkpoints import RUN, steps
from albor.training.checkpoint.format import Checkpoint, Damaged
from albor.training.checkpoint.reader import load, load_latest
from albor.training.checkpoint.writer import Writer

__all__ = ["RUN", "Checkpoint", "Damaged", "Writer", "load", "load_latest", "steps"]
