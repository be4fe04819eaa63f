"""A few steps of finetuning, run by every rank. Rank 0 leaves the weights.

python teaching.py DIRECTORY {sft,dpo}-{lora,dora,full}
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from albor.config.schema.finetune import Dpo, FullFinetune, Lora
from albor.config.schema.optim import AdamW
from albor.models.decoder import Decoder
from albor.training import dpo, finetune
from tests.training.toy import MODEL, ToyBatches, toy_job

ADAPTERS: dict[str, Lora | FullFinetune] = {
    "lora": Lora(r=4, dropout=0.0),
    "dora": Lora(r=4, dropout=0.0, dora=True),
    "full": FullFinetune(),
}


def main(directory: Path, kind: str) -> None:
    torch.set_num_threads(1)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    job = toy_job(directory / "checkpoints", optim=AdamW(lr=1e-2, eps=1e-3))
    job = replace(
        job,
        trainer=replace(job.trainer, micro_batch_size=4 // ranks, devices=ranks),
        train=lambda rank, world: ToyBatches(22, 4 // world, seed=42, rank=rank, world_size=world),
    )
    torch.manual_seed(5)
    init = Decoder(MODEL).state_dict()
    objective, _, adapter = kind.partition("-")
    if objective == "dpo":  # halves of rows are taken for answers
        trained = dpo.fit(MODEL, job, init, ADAPTERS[adapter], Dpo())
    else:
        trained = finetune.fit(MODEL, job, init, ADAPTERS[adapter])
    if trained.rank == 0:
        save_file(
            {name: tensor.contiguous() for name, tensor in trained.weights.items()}, directory / "model.safetensors"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
