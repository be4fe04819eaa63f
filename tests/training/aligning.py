"""A few steps of learning from chunks, run by every rank. Rank 0 leaves the weights.

python aligning.py DIRECTORY {ddp,fsdp}
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from albor.config.schema.distill import Distill
from albor.data.alignment import INSIDE
from albor.training.distill import fit_aligned
from tests.training.ranks import run_rank
from tests.training.toy import MODEL, ToyBatches


class Marked(ToyBatches):
    """Batches that bring what a teacher said who finds every next token as likely as ``nats`` says, two by two."""

    nats = -0.5

    def __iter__(self) -> Iterator[Any]:
        for tokens, labels in super().__iter__():
            marks = np.full((*labels.shape, 1), INSIDE, np.float32)
            marks[:, 1::2] = 2 * self.nats
            yield tokens, labels, marks


if __name__ == "__main__":
    run_rank(
        Path(sys.argv[1]),
        lambda job: fit_aligned(MODEL, job, None, Distill(route="alignment")),
        Marked,
        strategy=sys.argv[2],
    )
