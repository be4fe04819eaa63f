"""A toy run whose ranks each see a directory of their own; run as a program by every rank.

python apart.py DIRECTORY
"""

import sys
from dataclasses import replace
from pathlib import Path

from albor.errors import AlborError
from albor.runs.world import join
from albor.training.pretrain import fit
from tests.training.toy import MODEL, toy_job

world = join()
job = toy_job(Path(sys.argv[1], f"rank-{world.rank}", "checkpoints"))
try:
    fit(MODEL, replace(job, trainer=replace(job.trainer, devices=world.size)))
except AlborError as error:
    world.report(error.cause, error.cause)
    sys.exit(error.exit_code)
