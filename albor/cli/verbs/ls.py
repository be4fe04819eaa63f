"""``albor ls [GROUP]``: groups and their choices."""

from __future__ import annotations

from albor.cli.arguments import Arguments
from albor.cli.render import paint, table
from albor.config.location import describe, search_directories, yaml_files
from albor.config.problems import ConfigRefused, Problem
from albor.config.suggest import nearest


def run(arguments: Arguments) -> int:
    found: dict[str, dict[str, str]] = {}
    for directory in reversed(search_directories(arguments.config_dirs)):
        for group, choice, path in yaml_files(directory):
            found.setdefault(group, {})[choice] = describe(path)
    for group in arguments.words:
        if group not in found:
            guess = nearest(group, found)
            fix = f"did you mean `albor ls {guess}`?" if guess else f"the groups are {', '.join(sorted(found))}"
            raise ConfigRefused([Problem("E-CHOICE", "ls", f"there is no group '{group}'", fix)])
    groups = arguments.words or sorted(found)
    for group in groups:
        print(paint(group, "bold"))
        rows = [[f"{group}={choice}", text] for choice, text in sorted(found[group].items())]
        print(table([["", ""], *rows], indent="  ").split("\n", 1)[1])
    return 0
