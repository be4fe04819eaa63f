"""A config file is read whole, or refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from albor.config import yaml_files
from albor.config.problems import ConfigRefused, Problem
from albor.config.yaml_files import FileConfigSource, check_nodes, line_of, read_config, read_nodes, read_text, refuse

UNREADABLE = "not readable as YAML: "
DEFAULTS = "defaults is a list of GROUP: CHOICE"
SELF = "an alias stands inside of what it names"
TARGET = "`_target_` is not allowed: YAML never names code to run"
TARGET_FIX = "remove it; `albor ls` shows what can be chosen"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def refusal(path: Path) -> Problem:
    with pytest.raises(ConfigRefused) as refused:
        read_config(path)
    (problem,) = refused.value.problems
    assert problem.path == path.name
    return problem


def nested(depth: int) -> str:
    """A mapping with lists in it, ``depth`` levels in all; the innermost begins in the third line."""
    return f"a:\n  {'[' * (depth - 2)}\n  []{']' * (depth - 2)}\n"


def test_a_refusal_names_the_file_and_the_line() -> None:
    problem = refuse(Path("/there/x.yaml"), 7, "cause", "fix", "E-PATH").problems
    assert problem == [Problem("E-PATH", "x.yaml", "cause", "fix", "/there/x.yaml:7")]
    assert refuse(Path("x.yaml"), None, "cause").problems == [Problem("E-YAML", "x.yaml", "cause", None, "x.yaml")]
    assert line_of(None) is None
    assert line_of(yaml.Mark("name", 0, 4, 0, None, 0)) == 5


def test_plain_data_are_read_with_their_text(file: Path) -> None:
    text = "# mine\na: {b: [1, 1e-3, .5, 1_000, 0x10]}\nc: 2001-01-01\nd: on\ne:\nf: !!str 7\nü: ß\n<<: {g: 1, a: 2}\n"
    file.write_text(text, encoding="utf-8")
    data = {"g": 1, "a": {"b": [1, 0.001, 0.5, 1000, 16]}, "c": "2001-01-01", "d": True, "e": None, "f": "7", "ü": "ß"}
    assert read_config(file) == (text, data)
    assert read_config(file)[1] is read_config(file)[1]
    assert read_nodes(file)[0] == text


@pytest.mark.parametrize("text", ["", "# a comment\n", "\n\n"])
def test_an_empty_file_is_an_empty_mapping(file: Path, text: str) -> None:
    file.write_text(text)
    assert read_config(file) == (text, {})


@pytest.mark.parametrize("text", ["defaults: []\n", "defaults: [tiny, {override /model: x}]\n", "a: {defaults: 3}\n"])
def test_a_list_of_defaults_is_names_and_choices(file: Path, text: str) -> None:
    file.write_text(text)
    assert read_config(file) == (text, yaml.safe_load(text))


@pytest.mark.parametrize(
    ("text", "line", "cause", "fix"),
    [
        ("a: 1\nb: [", 3, f"{UNREADABLE}did not find expected node content", None),
        ("a: 1\nb: c: d", 2, f"{UNREADABLE}mapping values are not allowed in this context", None),
        ("a: 1\n--- \nb: 2", 2, f"{UNREADABLE}but found another document", None),
        ("\n\na: *x", 3, f"{UNREADABLE}found undefined alias", None),
        ("a: 1\nb: !foo x", 2, f"{UNREADABLE}could not determine a constructor for the tag '!foo'", None),
        ("a: 1\nb: [1, !!float x]", 2, f"{UNREADABLE}'x' is no float", None),
        ("a: !!bool maybe", 1, f"{UNREADABLE}'maybe' is no bool", None),
        ("\na: !!timestamp x", 2, f"{UNREADABLE}'x' is no timestamp", None),
        ("a: 0x_", 1, f"{UNREADABLE}'0x_' is no int", None),
        (f"a: {'7' * 5000}", 1, f"{UNREADABLE}'{'7' * 40}' is no int", None),
        ("a: \x01", None, f"{UNREADABLE}unacceptable character #x0001: control characters are not allowed", None),
        ("- 1", 1, "a config file holds a mapping of keys to values", None),
        ("\nword", 1, "a config file holds a mapping of keys to values", None),
        ("a: 1\ndefaults: 3", 2, DEFAULTS, "defaults: [override /model: tiny]"),
        ("a: 1\n\ndefaults: {model: tiny}", 3, DEFAULTS, "defaults: [override /model: tiny]"),
        ("defaults: [tiny, [1]]", 1, DEFAULTS, "defaults: [override /model: tiny]"),
        ("defaults:", 1, DEFAULTS, "defaults: [override /model: tiny]"),
        ("a: 1\n<<: {defaults: 3}", 2, DEFAULTS, "defaults: [override /model: tiny]"),
        ("a: &x [*x]", 1, SELF, None),
        ("a: 1\n\nb: {c: &y {d: *y}}", 3, SELF, None),
        ("a: 1\nb: 2\n\na: 3", 4, "the key 'a' is defined twice; first in line 1", "keep one of them"),
        ("a:\n  - b: 1\n    'b': 2", 3, "the key 'b' is defined twice; first in line 2", "keep one of them"),
        ("a: {1: x, 2: y,\n '1': z}", 2, "the key '1' is defined twice; first in line 1", "keep one of them"),
        ("a: 1\n? [b]\n: 2", 2, "a key is a single word, no list and no mapping", None),
        ("a: 1\nb:\n  ? {c: d}\n  : 2", 3, "a key is a single word, no list and no mapping", None),
    ],
)
def test_what_is_wrong_with_a_file_has_a_line(
    file: Path, text: str, line: int | None, cause: str, fix: str | None
) -> None:
    file.write_text(text)
    assert refusal(file) == Problem("E-YAML", "mine.yaml", cause, fix, f"{file}:{line}" if line else str(file))


@pytest.mark.parametrize(
    ("text", "line"),
    [("_target_: x", 1), ("a: 1\nb:\n  - c: 1\n    _target_: os.system", 4), ("a: {b: {_target_: 1}}", 1)],
)
def test_no_file_names_code_to_run(file: Path, text: str, line: int) -> None:
    file.write_text(text)
    assert refusal(file) == Problem("E-TARGET", "mine.yaml", TARGET, TARGET_FIX, f"{file}:{line}")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, file: Path) -> None:
    cause = "cannot be read: No such file or directory"
    assert refusal(file) == Problem("E-PATH", "mine.yaml", cause, None, str(file))
    (tmp_path / "d.yaml").mkdir()
    cause = "cannot be read: Is a directory"
    assert refusal(tmp_path / "d.yaml") == Problem("E-PATH", "d.yaml", cause, None, str(tmp_path / "d.yaml"))
    other = tmp_path / "latin.yaml"
    other.write_bytes("a: é".encode("latin-1"))
    assert refusal(other) == Problem("E-YAML", "latin.yaml", "not UTF-8 (byte 3)", None, str(other))


def test_a_file_has_a_largest_size(file: Path) -> None:
    file.write_text("#" * 1_048_576)
    assert read_text(file) == "#" * 1_048_576
    file.write_text("#" * 1_048_577)
    cause = "1,048,577 bytes; a config file may have 1,048,576"
    assert refusal(file) == Problem("E-YAML", "mine.yaml", cause, None, str(file))


def test_a_file_has_a_greatest_depth(file: Path) -> None:
    file.write_text(nested(50))
    assert set(read_config(file)[1]) == {"a"}
    deeper = file.with_name("deeper.yaml")
    deeper.write_text(nested(51))
    assert refusal(deeper) == Problem("E-YAML", "deeper.yaml", "nested deeper than 50 levels", None, f"{deeper}:3")
    beside = file.with_name("beside.yaml")
    beside.write_text(f"a: [[[]], {'[' * 49}{']' * 49}]\n")
    assert refusal(beside) == Problem("E-YAML", "beside.yaml", "nested deeper than 50 levels", None, f"{beside}:1")
    wide = file.with_name("wide.yaml")
    wide.write_text("".join(f"k{i}: [{{a: [{i}]}}]\n" for i in range(60)))
    assert len(read_config(wide)[1]) == 60


def test_a_file_has_a_largest_number_of_aliases(file: Path) -> None:
    file.write_text("a: &x 1\n" + "".join(f"b{i}: *x\n" for i in range(50)))
    assert read_config(file)[1]["b49"] == 1
    more = file.with_name("more.yaml")
    more.write_text("a: &x 1\n" + "".join(f"b{i}: *x\n" for i in range(51)))
    assert refusal(more) == Problem("E-YAML", "more.yaml", "more than 50 aliases", None, f"{more}:52")


def test_aliases_unfold_to_so_many_values_and_no_more(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, 2]\nb: &y [*x, *x, {k: *x}]\nc: [*y, *y]\n"
    node = yaml.compose(text)
    assert node is not None
    unfolded = 1 + 3 + (1 + 3 + 3 + 4) + (1 + 11 + 11)
    monkeypatch.setattr(yaml_files, "MAX_NODES", unfolded)
    assert check_nodes(file, node) == unfolded
    monkeypatch.setattr(yaml_files, "MAX_NODES", unfolded - 1)
    file.write_text(text)
    cause = f"its aliases unfold to more than {unfolded - 1} values"
    assert refusal(file) == Problem("E-YAML", "mine.yaml", cause, None, f"{file}:1")
    monkeypatch.setattr(yaml_files, "MAX_NODES", 22)
    other = file.with_name("other.yaml")
    other.write_text(text)
    cause = "its aliases unfold to more than 22 values"
    assert refusal(other) == Problem("E-YAML", "other.yaml", cause, None, f"{other}:3")


def test_a_billion_laughs_are_refused(file: Path) -> None:
    file.write_text("a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in range(1, 6)))
    cause = "its aliases unfold to more than 100,000 values"
    assert refusal(file) == Problem("E-YAML", "mine.yaml", cause, None, f"{file}:6")


def source(directory: Path) -> Any:
    return FileConfigSource("ours", f"file://{directory}")


def test_hydra_reads_through_these_checks(tmp_path: Path, file: Path) -> None:
    file.write_text("# @package _global_\na: ${b}\nb: 1\n")
    for name in ("mine", "mine.yaml"):
        found = source(tmp_path).load_config(name)
        assert (found.provider, found.path) == ("ours", f"file://{tmp_path}")
        assert found.header == {"package": "_global_"} and found.config.a == 1
    (tmp_path / "late.yaml").write_text("\n" * 500 + "# @package x\na: 1\n")
    assert source(tmp_path).load_config("late").header == {"package": "x"}
    (tmp_path / "later.yaml").write_text("\n" * 512 + "# @package x\na: 1\n")
    assert source(tmp_path).load_config("later").header == {"package": None}


def test_a_file_is_named_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.yaml").write_text("a: 1\nb: ${c\n")
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(ConfigRefused) as refused:
        source(tmp_path / "link").load_config("x")
    cause = "no viable alternative at input '${c'"
    expected = Problem("E-INTERPOLATION", "x.yaml", cause, None, str((tmp_path / "real" / "x.yaml").resolve()))
    assert refused.value.problems == [expected]
