"""What a comparison says: which config is best, by how much, what differs, and what must not be compared."""

from dataclasses import replace

import numpy as np
import pytest

from albor.errors import AlborError
from albor.report.comparison.figures import stat, text
from albor.report.comparison.grouping import differing
from albor.report.comparison.model import Path
from albor.report.comparison.payload import payload
from albor.report.comparison.table import markdown, plain, rows
from tests.report.compare_example import columns, comparison, entry, evaluated, seeded

CLEAR = {"0.001": [3.00, 3.02, 2.98], "0.01": [3.50, 3.56, 3.46]}


def test_runs_that_differ_in_their_seed_are_one_config() -> None:
    made = comparison(*seeded(CLEAR))
    assert [group.label for group in made.groups] == ["lr=0.001", "lr=0.01"]
    assert [len(group.entries) for group in made.groups] == [3, 3]
    assert made.keys == ["optim.lr", "seed"] and set(made.common) == {"model.name", "data.seq_len"}
    assert made.title == "6 runs of 2 configs compared"


def test_the_best_is_named_with_its_distance_and_its_chance() -> None:
    made = comparison(*seeded(CLEAR))
    assert made.headline.startswith("lr=0.001 has the lowest val_loss: 3.0000 ± 0.0200, 3 seeds. The next, lr=0.01, is")
    assert "0.5067 higher (p = " in made.headline and "3 seeds paired" in made.headline
    (_, other) = made.ranking.verdicts
    assert other.significant and other.test and other.test.kind == "paired"
    assert not made.warnings


def test_one_seed_says_nothing() -> None:
    made = comparison(entry("0.001", 0, 3.0), entry("0.01", 0, 3.5))
    assert "one seed: nothing can be said" in made.headline
    assert not any(verdict.test for verdict in made.ranking.verdicts)


def test_a_baseline_takes_the_place_of_the_best() -> None:
    runs = seeded(CLEAR)
    made = comparison(*runs, baseline=runs[-1].id)
    assert made.ranking.order == [0, 1] and made.ranking.reference == 1
    assert "Against the baseline, lr=0.01, that is 0.5067 lower" in made.headline
    with pytest.raises(AlborError, match="none of the compared"):
        comparison(*runs, baseline="nobody")


def test_validated_on_different_rows_is_not_ranked() -> None:
    a, b = entry("0.001", rows="a", documents="a"), entry("0.01", rows="b", documents="b")
    made = comparison(a, b)
    assert made.ranking.figure is None and not made.ranking.order
    assert "nothing is ranked" in made.headline
    assert any("different validation rows" in warning for warning in made.warnings)


def test_another_tokenizer_on_the_same_documents_is_ranked_by_bits_per_byte() -> None:
    made = comparison(entry("0.001", rows="a"), entry("0.01", rows="b", final=2.0))
    assert made.ranking.figure and made.ranking.figure.key == "val_bits_per_byte"
    assert made.ranking.order == [1, 0] and "bits per byte" in made.headline


def test_evaluations_on_the_same_rows_rank_what_training_validated_apart() -> None:
    a = entry("0.001", rows="a", evaluation=evaluated(val_loss=4.0))
    b = entry("0.01", rows="b", documents="b", evaluation=evaluated(val_loss=3.0))
    made = comparison(a, b)
    assert made.ranking.figure and made.ranking.figure.key == "eval_loss" and made.ranking.order == [1, 0]
    assert made.figures[0].key == "eval_loss"


def test_a_seed_that_chooses_the_rows_is_held_against_the_same_seed_only() -> None:
    runs = [replace(run, rows=run.seed, documents=run.seed) for run in seeded(CLEAR)]
    made = comparison(*runs)
    assert made.ranking.order == [0, 1]
    assert made.ranking.verdicts[1].test and made.ranking.verdicts[1].test.kind == "paired"
    assert any("because the seed chooses them" in warning for warning in made.warnings)
    others = [replace(run, settings={**run.settings, "seed": f"1{run.seed}"}) for run in runs[3:]]
    apart = comparison(*runs[:3], *[replace(run, rows=f"1{run.seed}", documents="") for run in others])
    assert apart.ranking.figure is None


def test_what_is_not_finished_is_shown_and_not_ranked() -> None:
    running = entry("0.01", final=1.0, status="running", planned_steps=100)
    made = comparison(entry("0.001"), running)
    assert made.ranking.order == [0]
    (_, row) = rows(made)
    assert row.status == "running" and row.reached == "step 40 of 100" and row.verdict.reason == "not finished"
    assert "lr=0.01 (running) is not finished: its figures are those of the last step it logged." in made.warnings
    assert "no run is finished" in comparison(running).headline.lower()


def test_several_that_are_not_finished_are_named_as_the_table_does() -> None:
    stopped = [entry(lr, seed, status=status) for lr, seed, status in
               [("0.01", 0, "failed"), ("0.01", 1, "running"), ("0.1", 0, "failed"), ("1", 0, "planned")]]  # fmt: skip
    (told,) = [text for text in comparison(entry("0.001"), *stopped).warnings if "not finished" in text]
    assert told == (
        "lr=0.01 seed=0 (failed), lr=0.01 seed=1 (running), lr=0.1 (failed) and 1 more are not finished: "
        "their figures are those of the last step they logged."
    )


def test_what_a_finished_run_recorded_goes_before_a_log_that_was_cut() -> None:
    recorded = {"val_loss": 2.5, "val_ppl": 12.18, "tokens": 40_960.0}
    made = comparison(entry("0.001", finals=recorded), entry("0.01", final=2.9))
    assert made.headline.startswith("lr=0.001 has the lowest val_loss: 2.5000.") and made.ranking.order == [0, 1]
    figures = {figure.key: stat(figure, made.groups[0]).mean for figure in made.figures}
    assert (figures["best_val_loss"], figures["val_ppl"]) == (2.5, 12.18)
    (told,) = [text for text in made.warnings if "log" in text]
    assert "lr=0.001 (val_loss 3.0000 in the log, 2.5000 recorded)" in told
    whole = comparison(entry("0.001", finals={"val_loss": 3.0, "tokens": 40_960.0}))
    assert not whole.warnings


def test_a_failed_seed_does_not_count_among_finished_ones() -> None:
    broken = entry("0.001", 9, 99.0, status="failed", columns=columns(99.0, steps=5, every=5))
    made = comparison(*seeded({"0.001": [3.0, 3.1]}), broken)
    assert stat(made.figures[0], made.groups[0]).values == {"0": 3.0, "1": 3.1}


def test_sections_that_follow_from_a_name_are_not_in_the_label() -> None:
    def run(name: str, width: str):
        known = {"model.name": name, "model.hidden_size": width, "seed": "0"}
        return entry(name, settings=known)

    made = comparison(run("tiny", "192"), run("small", "384"))
    assert [group.label for group in made.groups] == ["model=tiny", "model=small"]
    assert differing(made.entries) == ["model.name", "model.hidden_size"]


def test_a_sweeps_own_words_are_the_labels() -> None:
    runs = seeded(CLEAR)
    made = comparison(*runs, labels={run.id: f"lr:{run.settings['optim.lr']}" for run in runs})
    assert [group.label for group in made.groups] == ["lr:0.001", "lr:0.01"]


def test_equal_labels_are_told_apart() -> None:
    many = {f"k{i}": "1" for i in range(9)}
    made = comparison(entry("1", settings=many), entry("2", settings=dict.fromkeys(many, "2")))
    assert len({group.label for group in made.groups}) == 2


def test_figures_carry_their_spread_with_the_same_decimals() -> None:
    made = comparison(*seeded({"0.001": [3.0, 3.1]}))
    figures = {figure.key: figure for figure in made.figures}
    assert text(figures["val_loss"], stat(figures["val_loss"], made.groups[0])) == "3.0500 ± 0.0707"
    assert text(figures["tokens"], stat(figures["tokens"], made.groups[0])) == "41.0k"


def test_warnings_name_what_a_number_may_depend_on() -> None:
    odd = columns()
    wild = replace(odd, bad={"loss": np.array([3.0])}, unread=1)
    made = comparison(
        entry("0.001"),
        entry("0.01", columns=wild, environment={"git_commit": "def", "git_dirty": "True", "host": "other"}),
        entry("0.1", stage="distill", columns=columns(steps=20)),
    )
    told = " ".join(made.warnings)
    for words in ("hardware", "different commits", "no commit has", "not finite", "cannot be read", "stages", "tokens"):
        assert words in told


def test_markdown_is_a_table_for_github() -> None:
    made = comparison(*seeded(CLEAR))
    told = markdown(made)
    assert "| **lr=0.001** | 3 | **3.0000 ± 0.0200** |" in told
    assert "p = 0.0012 \\* |" in told and "| optim.lr | 0.001 | 0.01 |" in told
    assert told.rstrip().endswith("```sh\nalbor compare\n```")
    assert [line[0] for line in plain(made)] == ["config", "lr=0.001", "lr=0.01"]


def test_a_page_of_many_curves_keeps_to_its_budget() -> None:
    steps = np.arange(1.0, 20_001)
    noisy = np.random.default_rng(0).normal(size=len(steps))
    long = columns()
    long = replace(long, steps=steps, values={f"m{i}": noisy + i for i in range(8)} | {"loss": noisy})
    made = payload(comparison(*[entry(str(i), columns=long) for i in range(30)]))
    size = sum(len(str(column)) for column in made["pool"])
    assert size < 4_000_000
    assert len({run["series"]["m0"]["s"] for run in made["runs"]}) == 1  # equal columns are written once


def test_rungs_of_several_ladders_share_an_axis() -> None:
    def path(name: str, *rungs: str) -> Path:
        return Path(name, [(rung, evaluated(bits_per_byte=1.0)) for rung in rungs])

    made = comparison(entry()).with_evaluations(
        [], [path("a", "base", "merged", "q4"), path("b", "base", "pruned", "q4")]
    )
    drawn = payload(made)["rungs"]
    assert drawn["names"] == ["base", "pruned", "merged", "q4"]
    assert drawn["charts"][0]["lines"]["b"] == [[0, 1.0], [1, 1.0], [3, 1.0]]
