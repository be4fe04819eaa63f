"""Running a search: Optuna is asked for a trial, the trial is planned and started, and Optuna is told what came of it.

The study is a file beside the sweep's record: a search that was cut off goes on with the same command, its running
trials first, and one that is to have more trials gets them by a larger ``hydra.sweeper.n_trials``.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albor.cli.arguments import Arguments
from albor.cli.points import LOOK, job_of, show_end, stoppable
from albor.cli.render import paint, plural, show_error, show_findings_of, show_problems, table
from albor.cli.silence import Silence
from albor.cli.sweeps import command_of, one_store, refuse, shape, show_point
from albor.cli.upstream import build_here, build_there, elsewhere, last, undone
from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.sweep import BasicLauncher, JoblibLauncher, OptunaSweeper
from albor.config.suggest import nearest
from albor.errors import GOES_ON, INTERRUPTED, AlborError
from albor.plan import control, sweep
from albor.plan.apply import check_machine, prepare, prepare_nodes
from albor.plan.nodes import Node, Plan, Planner
from albor.plan.search import load_optuna, make_sampler, name_of, open_study, storage_errors
from albor.plan.space import Space, read_space
from albor.runs import manifest, sweeps
from albor.runs.manifest import Manifest
from albor.runs.store import exclusive, writable
from albor.runs.tail import Tail

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

    from albor.executors.jobs import Ended, Job, Jobs

RUN, POINT = "run", "point"
"""What a trial is remembered with: its run directory below the store, and its overrides."""


def run_search(planner: Planner, arguments: Arguments, asked: sweep.Settings, sweeper: OptunaSweeper) -> int:
    """Checks the space's corners, builds what all trials share, and searches. Exit code as for one target."""
    load_optuna()
    if isinstance(asked.launcher, JoblibLauncher) and asked.launcher.n_jobs not in (-1, sweeper.n_jobs):
        fix = f"hydra.sweeper.n_jobs={asked.launcher.n_jobs}"
        cause = "a search starts as many trials at a time as its sweeper says"
        raise ConfigRefused([Problem("E-OVERRIDE", "hydra.launcher.n_jobs", cause, fix)])
    space = read_space(sweep.space(planner, arguments.overrides, asked.params))
    corners = space.corners()
    planned = sweep.preflight(planner, corners)
    code = refuse(planned, len(corners), strict=arguments.strict)
    if code:
        return code
    for plan in planned.plans:
        check_machine(plan, elsewhere=elsewhere(asked.launcher))
    name = name_of(space, sweeper, planned.plans)
    store = one_store(planned.plans)
    place = sweeps.folder(store, name)
    writable(store)
    with exclusive(place, "search"), storage_errors(str(sweeper.storage or place)):
        common = shared_by_all(planned.plans)
        prepare_nodes(planned.plans[0], common, group=name, shared=True)
        if not elsewhere(asked.launcher):
            code = build_here(last(common), fail_fast=True)
            if code or undone(common):
                return code or 1
        search = Search(planner, space, sweeper, place, command_of(arguments))
        make_sampler(sweeper, 0)  # what it needs is missing now or never
        local = JoblibLauncher(n_jobs=sweeper.n_jobs)
        launcher = local if isinstance(asked.launcher, BasicLauncher | JoblibLauncher) else asked.launcher
        from albor.executors.launchers import open_jobs

        with open_jobs(launcher, directory=place / "jobs", shape=shape(planned.plans)) as jobs:
            if elsewhere(asked.launcher):
                code = build_there(last(common), jobs, place, lambda: None, fail_fast=True)
                if code or undone(common):
                    return code or 1
            code = search.run(jobs, fail_fast=arguments.fail_fast)
        found = search.summarize()
    if code == INTERRUPTED:
        print(GOES_ON, file=sys.stderr)
    return code or found


def shared_by_all(plans: Sequence[Plan]) -> list[Node]:
    """The upstream runs that all trials have in common, and that are to be made once, before them."""
    ids = set.intersection(*({node.id for node in plan.nodes[:-1]} for plan in plans))
    return [node for node in plans[0].nodes if node.id in ids and node.state != "done"]


class Search:
    """A study and its trials that run."""

    def __init__(self, planner: Planner, space: Space, sweeper: OptunaSweeper, place: Path, command: str) -> None:
        self._planner, self._space, self._sweeper, self._place = planner, space, sweeper, place
        self._command = command
        self._store = place.parent.parent
        self._study: Study = open_study(place.name, sweeper, place)
        self._running: dict[str, tuple[Job, list[Trial]]] = {}
        self._tails: dict[str, Tail] = {}
        self._pruned: set[str] = set()
        self._reported: dict[int, set[int]] = {}
        self._failed: set[int] = set()
        """Trials that failed in an earlier call; they count no more."""
        self._silence = Silence(place)
        self._asked: list[str] = []
        """Why the jobs were asked to end, once they were."""
        self._logged: set[str] = set()
        self._warned = False
        self._refused: AlborError | None = None
        """That a finished trial says nothing of the metric; no other is started then."""

    def run(self, jobs: Jobs, *, fail_fast: bool) -> int:
        """Until there are as many trials as asked for; 75 when that was interrupted, else 0."""
        left = deque(t for t in self._study.trials if not t.state.is_finished() and POINT in t.user_attrs)
        wanted, began = self._sweeper, time.monotonic()
        again = self._try_again()
        to_do = f"{len(left)} to go on with" + (f", {again} to try again" if again else "")
        print(f"{plural(wanted.n_trials, 'trial')}: {self._over()} done, {to_do}", file=sys.stderr)
        with stoppable(self._place / "stop") as asked:
            self._asked = asked
            while True:
                late = wanted.timeout_min is not None and time.monotonic() > began + 60 * wanted.timeout_min
                while not (asked or self._refused) and len(self._running) < wanted.n_jobs:
                    if left:
                        self._start(self._again(left.popleft()), jobs)
                    elif self._begun() < wanted.n_trials and not late:
                        self._start(self._ask(), jobs)
                    else:
                        break
                if self._refused and not asked:
                    show_error(self._refused)
                    asked.append("metric")
                    control.stop(self._place / "stop")
                if not self._running:
                    if "interrupt" in asked:
                        return INTERRUPTED
                    return self._refused.exit_code if self._refused else 0
                for ended in jobs.ended(LOOK):
                    if not self._finish(ended) and fail_fast and not asked:
                        print("--fail-fast: no other trial is started, and those that run save", file=sys.stderr)
                        asked.append("failure")
                        control.stop(self._place / "stop")
                self._watch()
                self._warn()
                self._silence.look([job for job, _ in self._running.values()], 0)

    def _try_again(self) -> int:
        """Asks for what failed in an earlier call once more, where no later trial has; how many those are."""
        states = load_optuna().trial.TrialState
        trials = self._study.trials
        self._failed = {t.number for t in trials if t.state == states.FAIL}
        latest = {tuple(params_of(t).items()): t for t in trials}.values()
        failed = [t for t in latest if t.state == states.FAIL]
        for trial in failed:
            self._study.enqueue_trial(trial.params)
        return len(failed)

    def _begun(self) -> int:
        return sum(POINT in t.user_attrs and t.number not in self._failed for t in self._study.trials)

    def _over(self) -> int:
        """Trials that have ended; not those that failed in an earlier call."""
        return sum(t.state.is_finished() and t.number not in self._failed for t in self._study.trials)

    def _ask(self) -> Trial:
        self._study.sampler = make_sampler(self._sweeper, len(self._study.trials))
        return self._study.ask({d.key: d.distribution() for d in self._space.dimensions})

    def _again(self, cut: FrozenTrial) -> Trial:
        """A trial that an earlier process left."""
        from optuna.trial import Trial

        return Trial(self._study, cut._trial_id)

    def _start(self, trial: Trial, jobs: Jobs) -> None:
        """Plans a trial and starts it; or says at once what is known of its run."""
        texts = self._space.texts(trial.params)
        plan = self._plan(trial, texts)
        if plan is None:
            return
        target = plan.target
        run = f"{target.stage.name}/{target.directory.name}"
        trial.set_user_attr(POINT, list(self._space.point(trial.params)))
        trial.set_user_attr(RUN, run)
        if target.state == "done":
            print(
                f"{paint(self._position(), 'dim', stream=sys.stderr)} {run}  known already", file=sys.stderr, flush=True
            )
            self._tell([trial], target.directory)
        elif target.directory.name in self._running:  # the same point, asked for while it runs
            self._running[target.directory.name][1].append(trial)
        elif target.directory.name in self._pruned or self._was_pruned(run, trial.number):
            self._study.tell(trial, state=load_optuna().trial.TrialState.PRUNED)
        else:
            prepare(plan, group=self._place.name, shared=True)
            job = job_of(target.directory.absolute(), self._place)
            self._running[job.name] = job, [trial]
            self._tails[job.name] = Tail(target.directory)
            self._reported[trial.number] = set(self._study.trials[trial.number].intermediate_values)
            jobs.start([job])
        self._record()

    def _position(self) -> str:
        return f"[{self._over() + 1}/{self._sweeper.n_trials}]"

    def _plan(self, trial: Trial, texts: tuple[str, ...]) -> Plan | None:
        """None for a trial whose config is refused, which Optuna is told."""
        self._planner.look_again()
        try:
            plan = self._planner.plan(texts)
            if not plan.errors:
                return plan
            show_point([" ".join(self._space.point(trial.params))])
            show_findings_of(plan.errors)
        except ConfigRefused as refused:
            show_point([" ".join(self._space.point(trial.params))])
            show_problems(refused.problems)
        trial.set_user_attr(POINT, list(self._space.point(trial.params)))
        self._study.tell(trial, state=load_optuna().trial.TrialState.FAIL)
        return None

    def _was_pruned(self, run: str, number: int) -> bool:
        pruned = load_optuna().trial.TrialState.PRUNED
        same = (t for t in self._study.trials if t.user_attrs.get(RUN) == run and t.number != number)
        return any(t.state == pruned for t in same)

    def _finish(self, ended: Ended) -> bool:
        """Tells Optuna of a job that has ended. Whether it came to something."""
        job, trials = self._running.pop(ended.name)
        self._report(ended.name, trials[0])
        position = self._position()
        directory = Path(job.command[3])
        states = load_optuna().trial.TrialState
        if ended.name in self._pruned and manifest.load(directory).status != "done":
            print(f"{paint(position, 'dim', stream=sys.stderr)} {ended.name}  pruned", file=sys.stderr, flush=True)
            for trial in trials:
                self._study.tell(trial, state=states.PRUNED)
            return True
        done = show_end(job, ended, position, stopping=bool(self._asked))
        self._silence.broken()
        if done:
            return self._tell(trials, directory)
        if ended.code != INTERRUPTED:  # what was interrupted is gone on with
            for trial in trials:
                self._study.tell(trial, state=states.FAIL)
        return ended.code == INTERRUPTED

    def _tell(self, trials: Sequence[Trial], directory: Path) -> bool:
        """Tells Optuna what trials of one finished run came to. Whether that is a number."""
        run, metric = manifest.load(directory), self._sweeper.metric
        value = value_of(run, directory, metric)
        good = value is not None and math.isfinite(value)
        if value is None:
            known = [k for k, v in run.facts.items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
            guess = nearest(metric, known)
            fix = f"did you mean hydra.sweeper.metric={guess}?" if guess else f"its numbers are {', '.join(known)}"
            cause = f"{run.stage}/{directory.name} says nothing of '{metric}'"
            self._refused = AlborError(cause, f"{fix} (what was trained is kept)", place="hydra.sweeper.metric")
        for trial in trials:
            if good:
                self._study.tell(trial, value)
            else:
                self._study.tell(trial, state=load_optuna().trial.TrialState.FAIL)
        return good

    def _report(self, name: str, trial: Trial) -> None:
        """Tells Optuna what a running trial has logged of the metric since the last look."""
        _, rows = self._tails[name].poll()
        for row in rows:
            self._logged.update(row)
            value, step = row.get(self._sweeper.metric), row.get("step")
            if isinstance(value, (int, float)) and isinstance(step, int) and step not in self._reported[trial.number]:
                self._reported[trial.number].add(step)
                trial.report(float(value), step)

    def _watch(self) -> None:
        """Looks at what running trials log. Stops those that Optuna gives up; each saves, and could be gone on with by
        hand."""
        for name, (_, trials) in self._running.items():
            self._report(name, trials[0])
            if self._sweeper.pruner != "none" and name not in self._pruned and trials[0].should_prune():
                self._pruned.add(name)
                control.stop(self._place / "stop", name)

    def _warn(self) -> None:
        """Of a metric whose name is not logged but nearly is: a finished run's facts may still have it."""
        metric = self._sweeper.metric
        if self._warned or "step" not in self._logged or metric in self._logged:
            return
        if guess := nearest(metric, sorted(self._logged)):
            self._warned = True
            print(f"warning: no '{metric}' is logged; did you mean hydra.sweeper.metric={guess}?", file=sys.stderr)

    def _record(self) -> None:
        """The search as a sweep, for `albor compare`: its trials so far."""
        trials = [t.user_attrs for t in self._study.trials if RUN in t.user_attrs]
        sweeps.save(
            self._store,
            sweeps.Sweep(
                name=self._place.name,
                command=self._command,
                created=time.time(),
                points=tuple(tuple(known[POINT]) for known in trials),
                runs=tuple(known[RUN] for known in trials),
            ),
        )

    def summarize(self) -> int:
        """The trials, the best first. 1 when none came to a number."""
        complete = load_optuna().trial.TrialState.COMPLETE
        ours = [t for t in self._study.trials if t.number not in self._failed]
        trials = sorted(ours, key=lambda t: (t.state != complete, self._sign(t.value), t.number))
        rows = [
            [
                str(t.number),
                " ".join(t.user_attrs.get(POINT, ())),
                state_of(t),
                "–" if t.value is None else f"{t.value:,.6g}",
                Path(t.user_attrs.get(RUN, "–")).name,
            ]
            for t in trials
        ]
        with suppress(BrokenPipeError):
            print(table([["trial", "point", "state", self._sweeper.metric, "run"], *rows], right=(0, 3)))
        done = sum(t.state == complete for t in trials)
        print(f"{done} of {plural(len(trials), 'trial')} done; `albor compare {self._place.name}`", file=sys.stderr)
        return 0 if done else 1

    def _sign(self, value: float | None) -> float:
        if value is None:
            return math.inf
        return value if self._sweeper.direction == "minimize" else -value


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial was drawn with, or is to be."""
    fixed: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
    return trial.params or fixed


def state_of(trial: FrozenTrial) -> str:
    return {"COMPLETE": "done", "FAIL": "failed", "PRUNED": "pruned"}.get(trial.state.name, "interrupted")


def value_of(run: Manifest, directory: Path, metric: str) -> float | None:
    """A number that a finished run says of itself, at a dotted path of its facts; or the last that it logged."""
    value: Any = run.facts
    for part in metric.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    _, rows = Tail(directory).poll()
    logged = [row[metric] for row in rows if isinstance(row.get(metric), (int, float))]
    return float(logged[-1]) if logged else None
