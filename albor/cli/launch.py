"""Handing over to Hydra: its own informative flags, and the installation of its completion."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from albor.config.location import conf_directory
from albor.config.problems import ConfigRefused, Problem


def call_hydra(argv: Sequence[str]) -> None:
    """``hydra.main`` of our config with these arguments instead of the process's, for what it says. Raises
    ConfigRefused: Hydra raises plain errors of many types, and here all are the user's to mend."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *argv]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")(lambda cfg: None)()
    except Exception as error:
        raise ConfigRefused([from_hydra(error)]) from None


def from_hydra(error: Exception) -> Problem:
    """Hydra's message: the first line is the cause, the rest mostly lists what there is."""
    cause, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    rest = rest[: next((i for i, line in enumerate(rest) if line.startswith("Config search path")), 6)]
    return Problem("E-OVERRIDE", "hydra", cause, " ".join(rest) or None)


def hydra_itself(argv: Sequence[str]) -> int:
    """--info, --hydra-help and the like, answered by Hydra for our config."""
    call_hydra([f"++{a}" if a.startswith(("up.", "inputs.")) else a for a in argv])
    return 0
