"""A few steps of finetuning, run by every rank. Rank 0 leaves the weights.

python teaching.py DIRECTORY {sft,dpo}-{lora,dora,full}
"""

import sys
from pathlib import Path

import torch

from albor.config.schema.finetune import Dpo, FullFinetune, Lora
from albor.models.decoder import Decoder
from albor.training import dpo, finetune
from albor.training.job import Job
from albor.training.run import Trained
from tests.training.ranks import run_rank
from tests.training.toy import MODEL

ADAPTERS: dict[str, Lora | FullFinetune] = {
    "lora": Lora(r=4, dropout=0.0),
    "dora": Lora(r=4, dropout=0.0, dora=True),
    "full": FullFinetune(),
}


def fit(job: Job, kind: str) -> Trained:
    torch.manual_seed(5)
    init = Decoder(MODEL).state_dict()
    objective, _, adapter = kind.partition("-")
    if objective == "dpo":  # halves of rows are taken for answers
        return dpo.fit(MODEL, job, init, ADAPTERS[adapter], Dpo())
    return finetune.fit(MODEL, job, init, ADAPTERS[adapter])


if __name__ == "__main__":
    run_rank(Path(sys.argv[1]), lambda job: fit(job, sys.argv[2]))
