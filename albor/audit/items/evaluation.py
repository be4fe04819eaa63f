"""Evaluation: that there is one, of this model, on rows it has not seen, and that it says that the model learned."""

from __future__ import annotations

import math

from albor.audit.corpus import Corpus
from albor.audit.evaluations import Evaluation
from albor.audit.facts import Facts, fact
from albor.audit.item import Outcome, Unknowable, beside, holds, item, unknown
from albor.contracts import CONTRACTS
from albor.contracts.alerts import LOSS_SPREAD
from albor.contracts.training import LARGE_MODEL, MIN_TOKENS_PER_STEP
from albor.runs.metrics import NAME as METRICS

WORSE = 0.05
"""Share by which the last validation loss may exceed the lowest."""
APART = 0.10
"""Share by which an evaluation may differ from training's own last validation, which takes fewer rows."""
TREND = 1
"""Place among the convergence criteria of the one that needs many losses."""
TOKENS = 10_000
"""Fewest tokens of an evaluation: the mean loss of so many is known to a few hundredths of a nat."""


@item("A-EVAL-01", "The model was evaluated", severity="critical")
def evaluated(facts: Facts) -> Outcome:
    found = [f"{made.name} ({', '.join(made.tasks)})" for made in facts.evaluations]
    return holds(
        bool(found), "; ".join(found) or f"no: python -m albor stage=eval inputs.model={facts.run.manifest.id}"
    )


@item("A-EVAL-02", "The evaluation measured these very weights", severity="critical")
def these_weights(facts: Facts) -> Outcome:
    measured, made = facts.evaluation.model.digest, facts.run.manifest.digest
    text = f"{facts.evaluation.name} measured {str(measured)[:16]}…, the artifact is {str(made)[:16]}…"
    return holds(measured == made, text)


@item("A-EVAL-03", "The evaluation's rows were held out from training", severity="critical")
def unseen(facts: Facts) -> Outcome:
    import pyarrow.compute as pc

    corpus = documents_of(facts, facts.evaluation)
    val, train = corpus.hashes("val"), facts.corpus.hashes("train")
    both = pc.sum(pc.is_in(val, value_set=train)).as_py() or 0
    text = f"{both:,} of the {len(val):,} documents of its validation split were trained on, of {len(train):,}"
    return holds(both == 0 and len(val) > 0, f"{facts.evaluation.name}: {text}")


def documents_of(facts: Facts, evaluation: Evaluation) -> Corpus:
    """The documents behind an evaluation's rows. Raises Unknowable when they are gone."""
    rows = facts.maker(evaluation.generations, evaluation.rows) if evaluation.rows else None
    documents = rows.manifest.inputs.get("documents") if rows else None
    made = facts.maker(rows, documents) if rows and documents else None
    if made is None or made.manifest.stage != "prepare":
        raise Unknowable("the documents behind the evaluation's rows are not there any more")
    return facts.corpus_of(made)


@item("A-EVAL-04", "The model is better than an untrained one", severity="critical")
def better(facts: Facts) -> Outcome:
    measured = fact(facts.evaluation.run, "val_loss")
    start = math.log(facts.settings.model.vocab_size)
    text = f"{measured:.4f} nats a token (perplexity {math.exp(measured):,.2f}); untrained {start:.4f}"
    return holds(measured < start, text)


def criterion(facts: Facts, number: int) -> Outcome:
    """One of the three convergence criteria."""
    from albor.training.convergence import FEWEST, convergence, losses

    run = facts.training
    series = losses(run.directory / METRICS)
    if len(series) < 2:
        return unknown(f"{len(series)} losses were logged")
    found = list(convergence(series, facts.settings.trainer.warmup_steps))
    if number >= len(found):
        return unknown("no loss was logged after the warmup")
    if number == TREND and len(series) < FEWEST:
        return unknown(found[number][1])
    return holds(*found[number])


@item("A-EVAL-05", "The last loss is below the first", severity="critical")
def learned(facts: Facts) -> Outcome:
    return criterion(facts, 0)


@item("A-EVAL-06", "The average of the loss seldom rises", severity="major")
def trend(facts: Facts) -> Outcome:
    return criterion(facts, TREND)


@item("A-EVAL-07", "No loss after the warmup leaps out", severity="major")
def spikes(facts: Facts) -> Outcome:
    return criterion(facts, 2)


@item("A-EVAL-08", "Training began at the loss of a model that knows nothing", severity="major")
def beginning(facts: Facts) -> Outcome:
    if facts.settings.init_from:
        return beside("training began from other weights")
    found, start = (
        facts.training.manifest.facts.get("initial_val_loss"),
        math.log(facts.settings.model.vocab_size),
    )
    if found is None:
        return unknown("no validation before the first step is recorded")
    text = f"{found:.4f} nats, ln of the vocabulary is {start:.4f}; within {LOSS_SPREAD:.0%}"
    return holds(abs(found - start) <= LOSS_SPREAD * start, text)


@item("A-EVAL-09", "The model did not get worse towards its end", severity="minor")
def overfitted(facts: Facts) -> Outcome:
    found = facts.log.validations
    if not found:
        return unknown("no validation was logged")
    last, best = max(found), min(found, key=lambda step: found[step])
    text = f"{found[last]:.4f} at step {last:,}, lowest {found[best]:.4f} at step {best:,}; at most {WORSE:.0%} more"
    return holds(found[last] <= (1 + WORSE) * found[best], text)


@item("A-EVAL-10", "Evaluation and training agree", severity="minor")
def agree(facts: Facts) -> Outcome:
    measured, trained = fact(facts.evaluation.run, "val_loss"), facts.training.manifest.facts.get("val_loss")
    if trained is None:
        return unknown("training recorded no validation")
    text = f"{measured:.4f} nats evaluated, {trained:.4f} at the end of training; within {APART:.0%}"
    return holds(abs(measured - trained) <= APART * trained, text)


@item("A-EVAL-11", "The evaluation measured enough", severity="minor")
def enough(facts: Facts) -> Outcome:
    count = fact(facts.evaluation.run, "val_tokens")
    return holds(count >= TOKENS, f"{count:,} tokens; at least {TOKENS:,}")


@item("A-EVAL-12", "The batch was large enough for the model", severity="major")
def batch(facts: Facts) -> Outcome:
    case = facts.case(facts.training)
    if case.cfg.model.num_parameters < LARGE_MODEL:
        return beside(f"{case.cfg.model.num_parameters:,} parameters: C-TRAINCFG-003 is about {LARGE_MODEL:,} and more")
    found = CONTRACTS["C-TRAINCFG-003"].findings(case)
    text = f"{case.budget.tokens_per_step:,} tokens a step; at least {MIN_TOKENS_PER_STEP:,}"
    return holds(not found, text)
