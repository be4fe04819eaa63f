"""Dispatch: verbs are ours, everything with ``=`` is Hydra's grammar. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from albor.config.problems import ConfigRefused
from albor.errors import GOES_ON, INTERRUPTED, AlborError

HYDRA_FLAGS = ("--info", "-i", "--hydra-help", "--experimental-rerun")
REFUSED = 2


def run(argv: list[str]) -> int:
    """The exit code: 0 done, 1 failed while running, 2 the user must change something, 75 interrupted."""
    from albor.cli import render

    code = 0
    try:
        code = dispatch(argv)
        sys.stdout.flush()
        return code
    except ConfigRefused as refused:
        render.show_problems(refused.problems)
        return REFUSED
    except AlborError as error:
        render.show_error(error)
        return error.exit_code
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == __package__.partition(".")[0]:
            raise
        cause = f"albor needs the module '{error.name}', which this Python does not have"
        fix = "`make setup` installs what is locked into .venv: then .venv/bin/albor; or pip install -e . into this one"
        render.show_error(AlborError(cause, fix, place=sys.executable))
        return REFUSED
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return code
        from albor.runs.store import disk_error

        wrapped = disk_error(error, Path())
        render.show_error(wrapped)
        return wrapped.exit_code
    except KeyboardInterrupt:
        print(GOES_ON, file=sys.stderr)
        return INTERRUPTED


def dispatch(argv: list[str]) -> int:
    if "--version" in argv:
        from importlib.metadata import version

        print(f"albor {version('albor')}")
        return 0
    if any(a in ("-sc", "--shell-completion") for a in argv):
        from albor.cli.completion import complete

        return complete(argv)
    if any(a in HYDRA_FLAGS for a in argv):
        from albor.cli.launch import hydra_itself

        return hydra_itself(argv)
    from albor.cli.arguments import parse_arguments

    wants_help = any(a in ("-h", "--help") for a in argv)
    arguments = parse_arguments([a for a in argv if a not in ("-h", "--help")])
    if wants_help:
        from albor.cli.help import show_help

        return show_help(arguments)
    module = arguments.verb or "run"
    return int(importlib.import_module(f"albor.cli.verbs.{module}").run(arguments))
