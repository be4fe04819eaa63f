"""Everything that the items of an audit look at, gathered once. What is expensive is read when the first item asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albor.audit.corpus import Corpus
from albor.audit.drift import damaged
from albor.audit.evaluations import Evaluation, evaluations
from albor.audit.ids import structured
from albor.audit.item import Unknowable
from albor.audit.log import Log
from albor.audit.predictions import Material
from albor.config.schema.config import Config
from albor.config.schema.task import Benchmark, LmEval
from albor.contracts import Case, Finding, check_all
from albor.contracts.base import TRAINING
from albor.errors import AlborError
from albor.runs import checkpoints, manifest
from albor.runs.lineage import chain, input_path
from albor.runs.manifest import EXTERNAL, InputRef
from albor.runs.store import Run, Store
from albor.stages import base as stages
from albor.stages.generate import chosen

if TYPE_CHECKING:
    from albor.training.checkpoint.verify import Check

MODEL = "model"
BENCHMARKS = (Benchmark, LmEval)


@dataclass(frozen=True)
class Measured:
    """A benchmark that an evaluation measured."""

    evaluation: Evaluation
    task: str
    spec: Benchmark | LmEval

    @property
    def title(self) -> str:
        return f"{self.task} in {self.evaluation.name}"

    @property
    def file(self) -> str | None:
        """What is known of the bytes of its file: their SHA-256, or where on the Hub they are from."""
        return self.evaluation.generations.manifest.identity.get(f"task.{self.task}")


@dataclass(frozen=True)
class Facts:
    run: Run
    """The run that made the model."""
    lineage: tuple[Run, ...]
    """What it was made from and itself, inputs first."""
    store: tuple[Run, ...]
    """Every run of its store, oldest first."""

    @property
    def root(self) -> Path:
        return self.run.directory.parents[1]

    def upstream(self, stage: str) -> Run:
        """The nearest run of a stage. Raises Unknowable when there is none."""
        found = next((run for run in reversed(self.lineage) if run.manifest.stage == stage), None)
        if found is None:
            raise Unknowable(f"no {stage} run lies in its lineage")
        return found

    @property
    def training(self) -> Run:
        """The nearest run that trained. Raises Unknowable."""
        found = next((run for run in reversed(self.lineage) if run.manifest.stage in TRAINING), None)
        if found is None:
            raise Unknowable("no run in its lineage trained")
        return found

    @cached_property
    def corpus(self) -> Corpus:
        return self.corpus_of(self.upstream("prepare"))

    def corpus_of(self, run: Run) -> Corpus:
        return Corpus(run, self.config(run).data)

    @cached_property
    def log(self) -> Log:
        return Log(self.training.directory)

    # --- inputs ---

    def inputs(self) -> Iterator[tuple[Run, str, InputRef]]:
        """Every input of every run of the lineage: the run, what it calls it, and what it recorded of it."""
        for run in self.lineage:
            for name, ref in run.manifest.inputs.items():
                yield run, name, ref

    def maker(self, run: Run, ref: InputRef) -> Run | None:
        """The run that made an input; None when it is gone, or was none of albor's."""
        directory = input_path(run.directory, ref).parent
        if ref.stage in EXTERNAL or not (directory / manifest.NAME).exists():
            return None
        return Run(directory, manifest.load(directory))

    # --- bytes ---

    @cached_property
    def damage(self) -> list[str]:
        """Files of the lineage's artifacts that are gone, or not those that were recorded: every byte is hashed."""
        said = {"missing": "is missing", "changed": "has other bytes"}
        return [
            f"{Path(found.run).name}: {found.path} {said[found.kind]}"
            for found in damaged(self.lineage)
            if found.kind in said
        ]

    @cached_property
    def model_checks(self) -> list[Check]:
        """What `albor verify` says of the artifact. Raises AlborError when it has no weights that can be read."""
        from safetensors import SafetensorError

        from albor.training.checkpoint.verify import verify_model

        try:
            return list(verify_model(self.run.artifact, self.run.manifest.config, {}))
        except (SafetensorError, FileNotFoundError) as error:
            raise AlborError(f"{checkpoints.MODEL}: {error}", "build the run again") from None

    @property
    def checkpoints(self) -> list[Path]:
        """Of the run that trained, newest first."""
        return checkpoints.steps(self.training.directory / checkpoints.DIRECTORY)

    # --- configs ---

    def config(self, run: Run) -> Config:
        """What a run was made with. Raises Unknowable when this albor cannot read it."""
        config, problems = structured(run.manifest)
        if config is None:
            raise Unknowable(f"the config of {run.directory.name} is not one of this albor's: {problems[0].cause}")
        return config

    @property
    def settings(self) -> Config:
        """What the model was trained with."""
        return self.config(self.training)

    def case(self, run: Run) -> Case:
        """What contracts look at: the run's config and what its inputs say of themselves."""
        makers = {name: self.maker(run, ref) for name, ref in run.manifest.inputs.items()}
        made = {name: maker for name, maker in makers.items() if maker is not None}
        planned = {name: structured(maker.manifest)[0] for name, maker in made.items()}
        return Case(
            self.config(run),
            run.manifest.stage,
            {name: maker.manifest.facts for name, maker in made.items()},
            {name: config for name, config in planned.items() if config is not None},
        )

    @cached_property
    def findings(self) -> list[tuple[Run, Finding]]:
        """What the contracts say now of every recorded config."""
        return [(run, finding) for run in self.lineage for finding in check_all(self.case(run))]

    # --- evaluations and predictions ---

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """Finished ones of this model, newest first."""
        return evaluations(self.store, self.run.manifest.id)

    @property
    def evaluation(self) -> Evaluation:
        """The newest that measured a perplexity. Raises Unknowable."""
        found = next((made for made in self.evaluations if "val_loss" in made.facts), None)
        if found is None:
            raise Unknowable("no evaluation has measured its perplexity")
        return found

    @cached_property
    def measured(self) -> list[Measured]:
        """Every benchmark of every evaluation, newest first. Raises Unknowable."""
        return [
            Measured(made, name, spec)
            for made in self.evaluations
            for name, spec in chosen(self.config(made.generations)).items()
            if isinstance(spec, BENCHMARKS)
        ]

    @property
    def material(self) -> Material:
        """What predictions are judged on: the lineage's own runs, and their evaluations in the store."""
        return Material(self.root, self.lineage, named=True, store=self.store)


def fact(run: Run, key: str) -> Any:
    """What a run says of what it made. Raises Unknowable when it does not say it."""
    if run.manifest.facts.get(key) is None:
        raise Unknowable(f"{run.directory.name} does not say its {key}")
    return run.manifest.facts[key]


def gather(found: Run) -> Facts:
    """The facts about the model that a run made, or that the nearest run upstream of it did. Raises AlborError."""
    lineage = [Run(directory, made) for directory, made in chain(found.directory)]
    while lineage and makes(lineage[-1]) != MODEL:
        lineage.pop()
    if not lineage:
        place = str(found.directory)
        raise AlborError(
            "no run that makes a model is this one or upstream of it", "choose a pretrain run", place=place
        )
    run = lineage[-1]
    own = [Run(directory, made) for directory, made in chain(run.directory)]
    return Facts(run, tuple(own), tuple(Store(run.directory.parents[1]).runs()))


def makes(run: Run) -> str:
    stage = run.manifest.stage
    return stages.find(stage).makes if stage in stages.names() else stage
