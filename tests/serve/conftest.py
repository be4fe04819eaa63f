from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.serving import Running, models, serving


@pytest.fixture(scope="session")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def server(directories: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all tests that do it no harm; ``base`` answers where no model is named."""
    given = [f"stage.models.{name}={path}" for name, path in directories.items()]
    with serving(tmp_path_factory.mktemp("serve"), *given, "stage.default=base") as running:
        yield running
