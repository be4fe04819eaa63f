"""Where the YAML lies, and what can be chosen from it."""

from __future__ import annotations

from pathlib import Path

import pytest

import albor
from albor.config.location import conf_directory, describe, options, search_directories, short, yaml_files
from albor.config.problems import ConfigRefused, Problem

FIX = "create it, or correct --config-dir or hydra.searchpath"


def put(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("")
    return directory


def test_our_own_directory_lies_in_the_package_or_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(albor.__file__).parent
    assert conf_directory() in (package / "conf", package.parent / "conf")
    assert (conf_directory() / "config.yaml").is_file()
    put(tmp_path, "site/albor/config/location.py")
    monkeypatch.setattr("albor.config.location.__file__", str(tmp_path / "site/albor/config/location.py"))
    assert conf_directory() == tmp_path.resolve() / "site/conf"
    (tmp_path / "site/albor/conf").mkdir()
    assert conf_directory() == tmp_path.resolve() / "site/albor/conf"


def test_every_yaml_in_a_group_is_a_choice(tmp_path: Path) -> None:
    put(tmp_path, "b/z.yaml", "b/a.yaml", "a/deep/er/x.yaml", "a/name.with.dots.yaml")
    put(
        tmp_path, "config.yaml", "_run.yaml", "a/_part.yaml", "a/.hidden.yaml", ".git/x.yaml", "a/_in/x.yaml", "b/x.yml"
    )
    (tmp_path / "a" / "directory.yaml").mkdir()
    assert list(yaml_files(tmp_path)) == [
        ("a", "deep/er/x", tmp_path / "a/deep/er/x.yaml"),
        ("a", "name.with.dots", tmp_path / "a/name.with.dots.yaml"),
        ("b", "a", tmp_path / "b/a.yaml"),
        ("b", "z", tmp_path / "b/z.yaml"),
    ]


def test_choices_of_several_directories_are_one_list(tmp_path: Path) -> None:
    first = put(tmp_path / "1", "model/tiny.yaml", "model/z.yaml", "stage/x.yaml")
    second = put(tmp_path / "2", "model/tiny.yaml", "model/a.yaml", "data/y.yaml")
    found = options([first, second])
    assert found == {"data": ["y"], "model": ["a", "tiny", "z"], "stage": ["x"]}
    assert list(found) == ["data", "model", "stage"]
    assert options([]) == {}


def test_a_path_below_the_working_directory_is_shown_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert short(tmp_path / "here" / "conf" / "x.yaml") == "conf/x.yaml"
    assert short(tmp_path / "there" / "x.yaml") == str(tmp_path / "there" / "x.yaml")
    assert short(Path("conf/x.yaml")) == "conf/x.yaml"


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("# What it is.\na: 1\n", "What it is."),
        ("# First.\n# Second.\n", "First."),
        ("# @package _global_\n\n  # What it is.  \na: 1\n", "What it is."),
        ("#\n#no blank\n# What it is.", "What it is."),
        ("a: 1\n# Too late.\n", ""),
        ("\n\n", ""),
        ("", ""),
        ("# @package _global_\n", ""),
        ("# Größe: 1B\n", "Größe: 1B"),
    ],
)
def test_a_choice_is_described_by_its_first_comment(tmp_path: Path, text: str, description: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    assert describe(file) == description


def test_a_file_that_is_not_utf8_can_still_be_listed(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes("# Größe\n".encode("latin-1"))
    assert describe(file) == "Gr\ufffd\ufffde"


def test_the_users_directories_come_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    put(tmp_path / "one", "x")
    put(tmp_path / "home" / "two", "x")
    put(tmp_path / "site" / "threepackage" / "conf", "../__init__.py", "__init__.py")
    found = search_directories(["one", f"file://{tmp_path}/one", "~/two", "pkg://threepackage.conf"])
    assert found == [
        tmp_path / "one",
        tmp_path / "one",
        tmp_path / "home" / "two",
        tmp_path / "site" / "threepackage" / "conf",
        conf_directory(),
        conf_directory() / "_sweeps",
    ]
    assert all(d.is_absolute() for d in found)
    assert search_directories([]) == [conf_directory(), conf_directory() / "_sweeps"]


def test_every_directory_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "a_file", "one/x")
    entries = ["a_file", "one", "file://nowhere", "pkg://no_such_package_here", "pkg://albor.conf.nope"]
    with pytest.raises(ConfigRefused) as refused:
        search_directories(entries)
    assert refused.value.problems == [
        Problem("E-PATH", "search path", f"the config directory {entry} does not exist", FIX)
        for entry in entries
        if entry != "one"
    ]
