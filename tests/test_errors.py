"""A user's mistake reaches the user from any process."""

from __future__ import annotations

import copy
import pickle

import pytest

from albor.data.errors import DataError
from albor.errors import AlborError


def made() -> AlborError:
    error = AlborError("cause", "help", place="here", code="E-X")
    error.exit_code = 1
    return error


@pytest.mark.parametrize("error", [made(), AlborError("alone"), DataError("empty", help="fill it")])
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_an_error_survives_being_sent(error, copied) -> None:
    error.add_note("noted")
    again = copied(error)
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
