"""Optuna's side of a search: its study, samplers and pruners."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albor.config.schema.sweep import OptunaSweeper
from albor.errors import AlborError
from albor.plan.nodes import Plan
from albor.plan.space import Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def name_of(space: Space, sweeper: OptunaSweeper, corners: Sequence[Plan]) -> str:
    """A search's name, by content: what it starts from, where it looks and how; not how long."""
    how = (sweeper.metric, sweeper.direction, sweeper.sampler, sweeper.seed, sweeper.n_startup_trials, sweeper.pruner)
    ids = [plan.target.id for plan in corners]
    text = repr((ids, space.dimensions, how, sweeper.warmup_steps))
    return "search-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def load_optuna() -> Any:
    """Raises AlborError when Optuna is not installed."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise AlborError("hydra/sweeper=optuna needs optuna, which is not here", 'pip install "albor[sweep]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def open_study(name: str, sweeper: OptunaSweeper, place: Path) -> Study:
    """The search's study, with the trials of earlier calls. Raises AlborError when its storage cannot be opened."""
    optuna = load_optuna()
    storage = sweeper.storage or f"sqlite:///{place.absolute() / 'study.db'}"
    with storage_errors(storage):
        study: Study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction=sweeper.direction,
            load_if_exists=True,
            pruner=make_pruner(sweeper),
        )
    return study


@contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """A database that cannot be opened or written, as a message."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        cause = f"the storage {storage} cannot be used: {str(error).splitlines()[0]}"
        raise AlborError(cause, "correct hydra.sweeper.storage, or leave it null", place=storage) from None


def make_sampler(sweeper: OptunaSweeper, number: int) -> BaseSampler:
    """The sampler for one trial: seeded by the trial's number, so that a search that was cut off goes on as if it had
    not been."""
    from optuna import samplers

    seed = int.from_bytes(hashlib.sha256(f"{sweeper.seed} {number}".encode()).digest()[:4], "big")
    match sweeper.sampler:
        case "tpe":
            liar = sweeper.n_jobs > 1
            startup = sweeper.n_startup_trials
            return samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=liar)
        case "random":
            return samplers.RandomSampler(seed=seed)
        case "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=sweeper.n_startup_trials)
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed, n_startup_trials=sweeper.n_startup_trials)


def make_pruner(sweeper: OptunaSweeper) -> BasePruner:
    from optuna import pruners

    startup, warmup = sweeper.n_startup_trials, sweeper.warmup_steps
    match sweeper.pruner:
        case "none":
            return pruners.NopPruner()
        case "median":
            return pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)
        case "asha":
            return pruners.SuccessiveHalvingPruner(min_resource=max(1, warmup))
        case "hyperband":
            return pruners.HyperbandPruner(min_resource=max(1, warmup))
