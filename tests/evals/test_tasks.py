"""Every kind of benchmark, on small problems of our own in its format."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from albor.config.problems import Problem as Complaint
from albor.config.schema.task import (
    Ds1000,
    EvalPlus,
    HumanEval,
    Mbpp,
    MultiPLE,
    Task,
)
from albor.config.structure import converter
from albor.errors import AlborError
from albor.evals.sandbox.inside import evalplus
from albor.evals.sandbox.program import Limits, Program, Verdict
from albor.evals.sandbox.workers import Sandbox, execute
from albor.evals.scoring import score
from albor.evals.tasks import judge_of
from albor.evals.tasks.base import Judge, Problem

sandboxed = pytest.mark.xdist_group("sandbox")
CONF = Path(__file__).parents[2] / "conf"
Row = dict[str, Any]


def verdicts(by: Judge, *todo: tuple[Problem, str], limits: Limits | None = None) -> list[Verdict]:
    """What running each completion comes to."""
    programs: list[Program] = []
    for problem, completion in todo:
        made = by.program(problem, completion)
        assert not isinstance(made, bool)
        programs.append(made)
    sandbox = Sandbox.of_this_python(limits or Limits(seconds=2))
    found = dict(execute(programs, sandbox, workers=1))
    return [found[i] for i in range(len(todo))]


def statuses(by: Judge, problem: Problem, *completions: str, limits: Limits | None = None) -> list[str]:
    return [v.status for v in verdicts(by, *((problem, c) for c in completions), limits=limits)]


# --- configs ---


@pytest.mark.parametrize("path", sorted((CONF / "task").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_task_fits_its_schema_and_is_called_like_its_file(path: Path) -> None:
    text, problems = path.read_text(encoding="utf-8"), list[Complaint]()
    assert text.splitlines()[0] == f"# @package task.{path.stem}"
    made = converter(Task)(yaml.safe_load(text), "task", problems)
    assert problems == [] and made.kind == yaml.safe_load(text)["kind"]


# --- HumanEval ---

CLAMP = {
    "task_id": "Own/1",
    "prompt": '\nLIMIT = 9\n\n\ndef clamp(x: int) -> int:\n    """x, or LIMIT when it is more."""\n',
    "canonical_solution": "    return min(x, LIMIT)\n",
    "entry_point": "clamp",
    "test": "def check(candidate):\n    assert candidate(3) == 3\n    assert candidate(30) == LIMIT == 9\n",
}


def test_a_prompt_ends_without_white_space() -> None:
    by = judge_of(HumanEval(stop=("\ndef",)), 0)
    (problem,) = by.problems([CLAMP])
    assert by.stop == ("\ndef",)
    assert problem.prompt == CLAMP["prompt"].strip()
    assert "\n" + problem.prompt + problem.answer == CLAMP["prompt"] + CLAMP["canonical_solution"]


@sandboxed
def test_humaneval_runs_its_tests() -> None:
    by = judge_of(HumanEval(), 0)
    (problem,) = by.problems([CLAMP])
    wrong = "\n    return x\n"
    cheat = "\n    return x\n\nLIMIT = 30\n\ndef check(candidate): pass"
    found = statuses(by, problem, problem.answer, "\n    pass\n", "", wrong, cheat, "\n    return min(x,")
    assert found == ["passed", "failed", "failed", "failed", "failed", "error"]


@sandboxed
def test_a_program_cannot_redefine_what_its_tests_are_made_of() -> None:
    row = CLAMP | {"test": "def check(candidate):\n    assert abs(candidate(30) - 9) < 1e-6\n"}
    by = judge_of(HumanEval(), 0)
    (problem,) = by.problems([row])
    assert statuses(by, problem, problem.answer, "\n    return x\n\ndef abs(x): return 0") == ["passed", "failed"]


@pytest.mark.parametrize("absent", ["task_id", "prompt", "entry_point", "test"])
def test_a_record_without_a_field_is_refused(absent: str) -> None:
    row = {name: value for name, value in CLAMP.items() if name != absent}
    with pytest.raises(AlborError, match=f"no field '{absent}'"):
        judge_of(HumanEval(), 0).problems([row])


HOLE = {
    "task_id": "Own/1/L0",
    "prompt": "def area(width, height):\n    ",
    "suffix": "\n    return size\n",
    "canonical_solution": "size = width * height",
    "entry_point": "area",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 6\n",
}


@sandboxed
def test_infilling_puts_the_suffix_behind_the_completion() -> None:
    by = judge_of(HumanEval(fim="spm"), 0)
    (problem,) = by.problems([HOLE])
    assert (problem.prompt, problem.suffix, problem.answer) == (
        HOLE["prompt"], HOLE["suffix"], HOLE["canonical_solution"]
    )  # fmt: skip
    assert statuses(by, problem, problem.answer, "", "size = width", "pass") == ["passed", "error", "failed", "error"]


# --- MBPP ---


def mbpp_row(task_id: int, code: str, tests: list[str], setup: str = "", text: str = "") -> Row:
    return {
        "task_id": task_id,
        "text": text or f"Write task {task_id}.",
        "code": code.replace("\n", "\r\n"),
        "test_list": tests,
        "test_setup_code": setup,
        "challenge_test_list": [],
    }


ROWS = [
    mbpp_row(2, "def two():\n\treturn 2", ["assert two() == 2", "assert two() != 3"]),
    mbpp_row(3, "def three():\n\treturn 3", ["assert three() == 3"]),
    mbpp_row(4, "def four():\n\treturn 4", ["assert four() == 4"]),
    mbpp_row(11, "def sum(a, b):\n    return a + b", ["assert sum(1, 2) == 3"], text="Write a sum."),
    mbpp_row(
        12,
        "class Pair:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n\n"
        "def both(p):\n    return p.a + p.b",
        ["assert both(pair) == 5", "assert both(pair) > 4", "assert pair.a == 2"],
        "pair = Pair(2, 3)",
    ),
    mbpp_row(600, "def late():\n    return 1", ["assert late() == 1"]),
]


def test_mbpp_shows_three_examples_with_one_kind_of_line_end() -> None:
    problems = judge_of(Mbpp(), 0).problems(ROWS)
    assert [p.id for p in problems] == ["11", "12"]
    asked = "You are an expert Python programmer, and here is your task: "
    assert problems[0].prompt == (
        f"{asked}Write task 2. Your code should pass these tests:\n\nassert two() == 2\nassert two() != 3\n[BEGIN]\n"
        "def two():\n\treturn 2\n[DONE]\n\n"
        f"{asked}Write task 3. Your code should pass these tests:\n\nassert three() == 3\n[BEGIN]\n"
        "def three():\n\treturn 3\n[DONE]\n\n"
        f"{asked}Write task 4. Your code should pass these tests:\n\nassert four() == 4\n[BEGIN]\n"
        "def four():\n\treturn 4\n[DONE]\n\n"
        f"{asked}Write a sum. Your code should pass these tests:\n\nassert sum(1, 2) == 3\n[BEGIN]\n"
    )
    assert not any("\r" in p.prompt + p.answer for p in problems)


def test_mbpp_from_a_docstring_shows_the_text_and_one_test() -> None:
    problems = judge_of(Mbpp(style="docstring", ids=None), 0).problems(ROWS[3:])
    assert [p.id for p in problems] == ["11", "12", "600"]
    assert problems[0].prompt == '"""\nWrite a sum.\nassert sum(1, 2) == 3\n"""\n'
    assert len(judge_of(Mbpp(style="docstring", ids=(12, 600)), 0).problems(ROWS)) == 2


def test_mbpp_from_a_docstring_stops_where_bigcodes_harness_does() -> None:
    stop = ["\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n<|/", "\n```"]
    assert yaml.safe_load((CONF / "task" / "mbpp_docstring.yaml").read_text())["stop"] == stop


def test_mbpp_without_its_examples_is_refused() -> None:
    with pytest.raises(AlborError, match="examples of the prompt: tasks 2, 4") as refused:
        judge_of(Mbpp(), 0).problems([row for row in ROWS if row["task_id"] not in (2, 4)])
    assert "style=docstring" in str(refused.value.help)
    with pytest.raises(AlborError, match="no field 'test_setup_code'"):
        judge_of(Mbpp(), 0).problems([*ROWS, {"task_id": 13, "text": "", "code": "", "test_list": []}])


@sandboxed
@pytest.mark.parametrize("style", ["few_shot", "docstring"])
def test_mbpp_sets_up_between_code_and_tests(style: Any) -> None:
    by = judge_of(Mbpp(style=style), 0)
    found = by.problems(ROWS)
    references = verdicts(by, *((p, p.answer) for p in found))
    assert [v.status for v in references] == ["passed", "passed"]
    failing = statuses(by, found[0], "", "pass", "exit(0)", "def sum(a, b): return a")
    assert failing == ["error", "error", "error", "failed"]
    assert statuses(by, found[1], "", "class Pair: pass") == ["error", "error"]


# --- EvalPlus ---

HALF: Row = {
    "task_id": "Own/2",
    "prompt": "def half(x):\n    ",
    "canonical_solution": "return x / 2\n",
    "entry_point": "half",
    "base_input": [[2], [4]],
    "plus_input": "[[3], [float('-inf')]]",
    "atol": 0,
}


@sandboxed
def test_evalplus_catches_with_its_own_inputs_what_the_original_ones_let_through() -> None:
    by, base = judge_of(EvalPlus(), 0), judge_of(EvalPlus(base_only=True), 0)
    (problem,) = by.problems([HALF])
    assert problem.prompt + problem.answer == HALF["prompt"] + HALF["canonical_solution"]
    whole = " return x // 2"
    cheats = (
        " return x // 2\n\ndef same(*a): return True",
        " return 0\n\ndef all(x): return True\n\ndef abs(x): return 0",
    )
    assert statuses(by, problem, problem.answer, whole, " pass") == ["passed", "failed", "failed"]
    assert statuses(by, problem, "", *cheats) == ["error", "failed", "failed"]
    assert statuses(base, problem, problem.answer, whole, " return x") == ["passed", "passed", "failed"]
    with pytest.raises(AlborError, match="no field 'plus_input'"):
        by.problems([{name: value for name, value in HALF.items() if name != "plus_input"}])


@sandboxed
@pytest.mark.parametrize(
    ("reference", "ours", "atol", "expected"),
    [
        ("x / 3", "round(x / 3, 4)", 1e-3, "passed"),
        ("x / 3", "round(x / 3, 4)", None, "failed"),
        ("x / 3", "x / 3 * (1 + 1e-9)", 0, "passed"),
        ("x / 3", "x / 3 + 5e-7", 0, "passed"),
        ("x / 3", "x / 3 + 5e-6", 0, "failed"),
        ("[x / 3, 1.0]", "[x / 3 + 5e-7, 1.0]", None, "passed"),
        ("[x / 3, 'a']", "[x / 3 + 5e-6, 'a']", 0, "failed"),
        ("[x / 3, 1]", "[round(x / 3, 4), 1]", 1e-3, "passed"),
        ("[[x / 3], [1]]", "[(round(x / 3, 4),), [1]]", 1e-3, "passed"),
        ("[x / 3, [1]]", "[round(x / 3, 4), [1]]", 1e-3, "failed"),
        ("[x / 3, 1]", "(round(x / 3, 4), 1)", 1e-3, "failed"),
        ("[1, 2]", "(1, 2)", 0, "failed"),
        ("[(1, 2)]", "[[1, 2]]", 0, "failed"),
        ("{'k': [x / 3]}", "{'k': [round(x / 3, 4)]}", 1e-3, "failed"),
        ("{'k': [x / 3]}", "{'k': [x / 3]}", 0, "passed"),
        ("x / 3 * 1j", "x / 3 * 1j + 1e-5", 1e-4, "passed"),
        ("float('inf')", "1e308", 1e-4, "failed"),
        ("1e308", "float('inf')", 1e-4, "failed"),
        ("[float('inf'), 1.0]", "[float('inf'), 1.0 + 1e-8]", 0, "passed"),
        ("{'k': x}", "{'k': x, 'l': x}", 0, "failed"),
        ("[1.0, 2.0]", "[1.0]", 0, "failed"),
        ("1.0", "True", 0, "passed"),
        ("1.0", "1", 0, "passed"),
        ("1.0 + 1e-8", "1", 0, "failed"),
        ("1.0", "'1.0'", 0, "failed"),
        ("x * float('nan')", "x - x", 0, "failed"),
        ("x * float('nan')", "x * float('nan')", 0, "failed"),
        ("x.append(9)", "x.clear()", 0, "passed"),
    ],
)
def test_evalplus_compares_numbers_with_a_tolerance(
    reference: str, ours: str, atol: float | None, expected: str
) -> None:
    argument: Any = [7] if reference.startswith("x.") else 7
    row = HALF | {"canonical_solution": f"return {reference}\n", "base_input": [[argument]], "plus_input": [],
                  "atol": atol}  # fmt: skip
    by = judge_of(EvalPlus(), 0)
    assert statuses(by, by.problems([row])[0], f"\n    return {ours}\n") == [expected]


@sandboxed
def test_evalplus_reads_infinities_of_json() -> None:
    row = HALF | {"base_input": [[float("inf")], [1]], "plus_input": [[float("-inf")]]}
    by = judge_of(EvalPlus(), 0)
    (problem,) = by.problems([row])
    assert statuses(by, problem, problem.answer, " return 0.5") == ["passed", "failed"]


@sandboxed
def test_a_reference_that_calls_itself_does_not_call_the_program() -> None:
    row = HALF | {
        "prompt": "def total(xs):\n    ",
        "canonical_solution": "return xs[0] + total(xs[1:]) if xs else same(0)\n\n\ndef same(x):\n    return x\n",
        "entry_point": "total", "base_input": [[[1, 2]]], "plus_input": [],
    }  # fmt: skip
    by = judge_of(EvalPlus(), 0)
    (problem,) = by.problems([row])
    right, wrong = verdicts(by, (problem, " return sum(xs)"), (problem, " return xs[0] + 5 if xs else 5"))
    assert right.passed and not wrong.passed
    assert wrong.detail == "total(*[[1, 2]]) is 6, not 3"


def plus(task: int, entry: str, reference: str, *inputs: Any, more: tuple[Any, ...] = (), atol: float = 0) -> Row:
    """A record in the format of MBPP+'s file."""
    return {
        "task_id": f"Mbpp/{task}",
        "prompt": f'"""\nWrite {entry}.\nassert {entry}() == 1\n"""\n',
        "entry_point": entry,
        "canonical_solution": f"\ndef {entry}(*xs):\n    return {reference}\n",
        "base_input": list(inputs),
        "plus_input": list(more),
        "atol": atol,
        "contract": "",
        "assertion": f"assert {entry}() == 1",
    }


def ours(entry: str, expression: str) -> str:
    return f"\nimport re\ndef {entry}(*xs):\n    return {expression}\n"


def test_mbpp_plus_shows_a_docstring_with_its_line_end() -> None:
    (problem,) = judge_of(EvalPlus(), 0).problems([plus(3, "two", "2", [1])])
    assert problem.prompt == '"""\nWrite two.\nassert two() == 1\n"""\n'
    assert problem.answer == "\ndef two(*xs):\n    return 2\n"


@pytest.mark.parametrize(
    ("task", "read", "meant"),
    [
        (3, [[1, [2]], "a"], [[1, [2]], "a"]),
        (2, [[1, 2], [3]], [(1, 2), (3,)]),
        (307, [[1, 2], 3, [4]], [(1, 2), 3, [4]]),
        (106, [[1], [2]], [[1], (2,)]),
        (63, [[[1], [2, 3]]], [[(1,), (2, 3)]]),
        (753, [[[1, 2]], [3]], [[(1, 2)], [3]]),
        (401, [[[1], [2]], [[3]]], [((1,), (2,)), ((3,),)]),
        (278, [[1, [2, [3]], "a"]], [(1, (2, [3]), "a")]),
        (580, [[1, [2, [3]]]], [(1, (2, (3,)))]),
        (115, [[[1, 2], [], {}]], [[{1, 2}, {}, {}]]),
        (722, [{"a": [1, 2]}, 3, [4]], [{"a": (1, 2)}, 3, [4]]),
        (124, ["1", "2j"], [1.0, 2j]),
        (252, ["(1+2j)"], [1 + 2j]),
    ],
)
def test_mbpp_plus_inputs_are_what_they_were_before_json(task: int, read: list[Any], meant: list[Any]) -> None:
    found = evalplus.arguments_of(f"Mbpp/{task}", read)
    assert found == meant and repr(found) == repr(meant)
    assert evalplus.arguments_of(f"Own/{task}", read) == read


@sandboxed
@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        (plus(580, "kinds", "type(xs[0][1]).__name__", [[1, [2]]]), ("type(xs[0][1]).__name__",), ("'list'",)),
        (plus(2, "similar_elements", "(1, 2)", [[1], [2]]), ("[2, 1, 1]", "{1, 2}"), ("(1,)", "None", "3")),
        (plus(794, "text_starta_endb", "re.search('a', xs[0])", ["a"], more=(["b"],)),
         ("'Found!' if 'a' in xs[0] else None", "'a' in xs[0]", "re.search('a', xs[0])"),
         ("'Found!'", "None", "False")),
        (plus(164, "are_equivalent", "True", [36, 57]), ("False", "None"), ("1 / 0",)),
        (plus(295, "sum_div", "7", [8]), ("7", "0"), ("8",)),
        (plus(558, "digit_distance_nums", "0", [1, 23]), ("0", "4"), ("3", "None")),
        (plus(581, "surface_Area", "33", [3, 4]), ("33", "35"), ("34", "None")),
        (plus(260, "sum_div", "7", [8]) | {"task_id": "Own/1"}, ("7",), ("0",)),
        (plus(98, "share", "xs[0] / 3", [1], atol=1e-4), ("round(xs[0] / 3, 5)",), ("round(xs[0] / 3, 3)",)),
        (plus(99, "share", "xs[0]", [1.5], [[1.5, 2]]), ("xs[0] if xs[0] == 1.5 else [1.5 + 5e-7, 2]",), ()),
        (plus(99, "share", "xs[0]", [1.5], more=([[1.5, 2]],)), (), ("xs[0] if xs[0] == 1.5 else [1.5 + 5e-7, 2]",)),
    ],
    ids=lambda value: value["task_id"] + value["entry_point"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_mbpp_plus_has_oracles_of_its_own(row: Row, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    row["canonical_solution"] = "\nimport re\n" + row["canonical_solution"]
    by = judge_of(EvalPlus(), 0)
    (problem,) = by.problems([row])
    found = statuses(by, problem, problem.answer, *(ours(row["entry_point"], e) for e in (*right, *wrong)))
    assert found[: 1 + len(right)] == ["passed"] * (1 + len(right))
    assert "passed" not in found[1 + len(right) :]


@sandboxed
def test_any_root_of_humanevals_polynomial_is_right() -> None:
    row = plus(1, "find_zero", "min(xs[0])", [[-1, 0, 1]], atol=1e-4) | {"task_id": "HumanEval/32"}
    by = judge_of(EvalPlus(), 0)
    (problem,) = by.problems([row])
    answers = ("1", "-1.00001", "1.1", "None", "1e300")
    found = statuses(by, problem, *(ours("find_zero", answer) for answer in answers))
    assert found == ["passed", "passed", "failed", "failed", "failed"]


# --- DS-1000 ---

CONTEXT = '''
exec_context = r"""
xs = test_input
[insert]
"""


def test_execution(solution: str):
    space = {"test_input": [3, 1, 2]}
    exec(exec_context.replace("[insert]", solution), space)
    assert space["result"] == [1, 2, 3]
'''
STRING = """

def test_string(solution: str):
    assert "sorted" in solution
"""


def ds_row(library: str, number: int, context: str) -> Row:
    return {
        "prompt": "Problem:\nSort.\n\nBEGIN SOLUTION\n<code>\n",
        "reference_code": "result = sorted(xs)\n",
        "metadata": {"library": library, "library_problem_id": number, "problem_id": number},
        "code_context": context,
    }


@sandboxed
def test_ds1000_runs_both_tests_and_is_counted_by_library() -> None:
    rows = [ds_row("Numpy", 0, CONTEXT), ds_row("Pandas", 0, CONTEXT + STRING)]
    spec = Ds1000()
    by = judge_of(spec, 0)
    problems = by.problems(rows)
    assert [(p.id, p.group) for p in problems] == [("Numpy/0", "Numpy"), ("Pandas/0", "Pandas")]
    loop = "xs.sort()\nresult = xs\n"
    todo = [(p, c) for p in problems for c in (p.answer, loop, "", "pass", "result = xs")]
    found = [v.status for v in verdicts(by, *todo)]
    assert found == ["passed", "passed", "error", "error", "failed", "passed", "failed", "error", "error", "failed"]
    judged = [{"problem": p.id, "verdict": s} for (p, _), s in zip(todo, found, strict=True)]
    groups = score(spec, problems, judged)["groups"]
    assert {name: group["pass@1"]["value"] for name, group in groups.items()} == pytest.approx(
        {"Numpy": 0.4, "Pandas": 0.2}
    )


def test_ds1000_takes_the_libraries_it_is_told() -> None:
    rows = [ds_row("Numpy", 0, CONTEXT), ds_row("Pandas", 0, CONTEXT)]
    assert [p.id for p in judge_of(Ds1000(libraries=("Pandas",)), 0).problems(rows)] == ["Pandas/0"]
    with pytest.raises(AlborError, match="no field 'metadata'"):
        judge_of(Ds1000(libraries=("Pandas",)), 0).problems([CLAMP])


# --- MultiPL-E ---

MULTIPL_E = {
    "py": {
        "name": "Own_1_twice",
        "prompt": "def twice(x: int) -> int:\n",
        "tests": "def check(candidate):\n    assert candidate(4) == 8\n\ndef test_check():\n    check(twice)\n\n"
        "test_check()\n",
        "stop_tokens": ["\ndef"],
    },
    "js": {
        "name": "Own_1_twice",
        "prompt": "function twice(x){\n",
        "tests": "const assert = require('node:assert');\n\n\nfunction test() {\n  let candidate = twice;\n"
        "  assert.deepEqual(candidate(4),8);\n}\n\ntest();",
        "stop_tokens": ["\nfunction "],
    },
    "cpp": {
        "name": "Own_1_twice",
        "prompt": "#include<assert.h>\n#include<cstdlib>\n#include<stdio.h>\nlong twice(long x) {\n",
        "tests": "}\nint main() {\n    auto candidate = twice;\n    assert(candidate((4)) == (8));\n}\n",
        "stop_tokens": ["\n}"],
    },
}
BODIES = {
    "py": ("    return 2 * x\n", "    return x\n", "    exit(0)\n", "    pass\n"),
    "js": ("  return 2 * x;\n}", "  return x;\n}", "  process.exit(0);\n}", "}"),
    "cpp": ("    return 2 * x;", "    return x;", "    exit(0);", "    return 0;"),
}
TOOLS = {"js": "node", "cpp": "g++"}


@sandboxed
@pytest.mark.parametrize("language", ["py", "js", "cpp"])
def test_multipl_e_in_each_language(language: Any) -> None:
    if shutil.which(TOOLS.get(language, "sh")) is None:
        pytest.skip(f"{TOOLS[language]} is not here")
    conf = yaml.safe_load((CONF / f"task/multipl_e_{language}.yaml").read_text(encoding="utf-8"))
    spec = converter(MultiPLE)(conf, "task", [])
    by = judge_of(spec, 0)
    (problem,) = by.problems([MULTIPL_E[language]])
    assert (problem.id, problem.answer, problem.suffix) == ("Own_1_twice", "", None)
    assert problem.prompt == str(MULTIPL_E[language]["prompt"]).strip()
    assert spec.stop == ("<file_sep>",)  # beside the problem's own
    limits = Limits(seconds=20, memory=spec.memory, processes=spec.processes)
    found = statuses(by, problem, *BODIES[language], limits=limits)
    assert found[0] == "passed" and "passed" not in found[1:], found


def test_multipl_e_without_tests_is_refused() -> None:
    with pytest.raises(AlborError, match="no field 'stop_tokens'"):
        judge_of(MultiPLE(), 0).problems([{"name": "x", "prompt": "", "tests": ""}])
