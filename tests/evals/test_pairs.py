from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from albor.data.chat import Message
from albor.evals.journal import Record
from albor.evals.pairs import pairs

RECORDS = st.lists(
    st.builds(
        lambda problem, text, verdict: record(problem, text, verdict),
        st.integers(0, 2),
        st.sampled_from("abcdef"),
        st.sampled_from(["passed", "failed", "error", "timeout"]),
    ),
    max_size=40,
)


def record(problem: int, completion: str, verdict: str) -> Record:
    return {"problem": f"p{problem}", "prompt": f"Ask {problem}.", "completion": completion, "verdict": verdict}


def test_what_passed_is_paired_with_what_did_not() -> None:
    records = [record(0, "a", "passed"), record(0, "b", "failed"), record(0, "c", "error"), record(1, "d", "passed")]
    made = list(pairs(records, per_problem=5))
    assert {(p.chosen, p.rejected) for p in made} == {("a", "b"), ("a", "c")} and len(made) == 2
    assert made[0].asked == (Message("user", "Ask 0."),)


@given(RECORDS, st.integers(1, 12))
def test_pairs_of_any_verdicts(records: list[Record], per_problem: int) -> None:
    made = list(pairs(records, per_problem=per_problem))
    assert made == list(pairs(list(records), per_problem=per_problem))
    verdicts: dict[tuple[str, str], set[bool]] = {}
    for r in records:
        verdicts.setdefault((r["prompt"], r["completion"]), set()).add(r["verdict"] == "passed")
    for pair in made:
        prompt = pair.asked[0].content
        assert verdicts[prompt, pair.chosen] == {True} and verdicts[prompt, pair.rejected] == {False}
    assert len(set(made)) == len(made)
    for prompt in {r["prompt"] for r in records}:
        passed, failed = (
            sum(seen == {kind} for (p, _), seen in verdicts.items() if p == prompt) for kind in (True, False)
        )
        mine = [p for p in made if p.asked[0].content == prompt]
        assert len(mine) == min(per_problem, passed * failed)
        used = Counter(p.chosen for p in mine)
        assert max(used.values(), default=0) - min(used.values(), default=0) <= 1 or passed > len(mine)


def test_the_order_of_samples_does_not_matter_and_white_space_is_no_answer() -> None:
    records = [record(0, f"x{n}", "passed" if n % 2 else "failed") for n in range(10)] + [record(0, " \n", "passed")]
    made = list(pairs(records, per_problem=3))
    assert made == list(pairs(records[::-1], per_problem=3)) and len(made) == 3
    assert len({p.chosen for p in made}) == len({p.rejected for p in made}) == 3
