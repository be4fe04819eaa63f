"""Numbers with units, read and shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.config.types import Dimension
from albor.config.units import UNITS, human_bytes, human_count, human_seconds, parse_quantity


@pytest.mark.parametrize(
    ("text", "dimension", "number"),
    [
        ("500", "count", 500),
        ("64k", "count", 64_000),
        ("64K", "count", 64_000),
        ("1.5M", "count", 1_500_000),
        ("1B", "count", 10**9),
        ("2T", "count", 2 * 10**12),
        ("1e-3", "count", 0.001),
        ("1E+3", "count", 1000),
        ("1e3k", "count", 10**6),
        ("1_000", "count", 1000),
        ("1_000_000k", "count", 10**9),
        ("  7 k  ", "count", 7000),
        ("4096", "bytes", 4096),
        ("3B", "bytes", 3),
        ("3kB", "bytes", 3000),
        ("3KB", "bytes", 3000),
        ("141GB", "bytes", 141 * 10**9),
        ("1TB", "bytes", 10**12),
        ("3iB", "bytes", 3),
        ("512KiB", "bytes", 512 * 1024),
        ("512MiB", "bytes", 512 * 1024**2),
        ("0.5GiB", "bytes", 2**29),
        ("2TiB", "bytes", 2**41),
        ("90", "seconds", 90),
        ("30s", "seconds", 30),
        ("30sec", "seconds", 30),
        ("15m", "seconds", 900),
        ("15min", "seconds", 900),
        ("2h", "seconds", 7200),
        ("1.5d", "seconds", 129_600),
        # What binary fractions alone would miss.
        ("1.001k", "count", 1001),
        ("4.35M", "count", 4_350_000),
        ("1.1GB", "bytes", 1_100_000_000),
        ("0.07h", "seconds", 252),
    ],
)
def test_a_number_with_a_unit(text: str, dimension: Dimension, number: float) -> None:
    found = parse_quantity(text, dimension)
    assert found == number and isinstance(found, float)


@pytest.mark.parametrize(
    ("text", "dimension", "known"),
    [
        ("abc", "count", "k, K, M, B, T (1B)"),
        ("", "count", "k, K, M, B, T (1B)"),
        ("k", "count", "k, K, M, B, T (1B)"),
        ("-1", "count", "k, K, M, B, T (1B)"),
        ("_1", "count", "k, K, M, B, T (1B)"),
        ("1.", "count", "k, K, M, B, T (1B)"),
        ("1 2", "count", "k, K, M, B, T (1B)"),
        ("5MiB", "count", "k, K, M, B, T (1B)"),
        ("5h", "bytes", "B, kB, MB, GB, TB, iB, KiB, MiB, GiB, TiB, KB (512MiB)"),
        ("5k", "seconds", "s, sec, m, min, h, d (2h)"),
    ],
)
def test_what_is_no_number_with_a_unit_is_told_the_units(text: str, dimension: Dimension, known: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_quantity(text, dimension)
    expected = f"'{text}' is not a number with a unit; write a plain number or use {known}"
    assert str(refused.value) == expected


def test_a_number_beyond_all_numbers_is_infinite_and_not_an_error() -> None:
    for text in ("1e400", "1e999999999999k", "9" * 5000):
        assert parse_quantity(text, "count") == math.inf
    assert parse_quantity("1e-999999999999", "count") == 0


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(sorted(UNITS["count"])))
def test_thousandths_of_a_unit_are_whole_numbers(whole: int, thousandths: int, unit: str) -> None:
    expected = (whole * 1000 + thousandths) * int(UNITS["count"][unit]) // 1000
    assert parse_quantity(f"{whole}.{thousandths:03}{unit}", "count") == expected


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (1234, "1,234"),
        (2.6, "3"),
        (999_499, "999,499"),
        (999_500, "1M"),
        (1_000_000, "1M"),
        (62_403_072, "62.4M"),
        (999_499_999, "999M"),
        (999_500_000, "1B"),
        (1_234_000_000, "1.23B"),
        (999_499_999_999, "999B"),
        (999_500_000_000, "1T"),
        (1e12, "1T"),
        (999.4e12, "999T"),
        (999.5e12, "1,000T"),
        (1.2345e16, "12,345T"),
    ],
)
def test_a_count_for_people(number: float, shown: str) -> None:
    assert human_count(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1,024 KiB"),
        (1024**2, "1 MiB"),
        (999 * 1024**2, "999 MiB"),
        (1010 * 1024**2, "1,010 MiB"),
        (1024**3 - 1024**2, "1,023 MiB"),
        (1024**3, "1 GiB"),
        (141e9, "131 GiB"),
        (1024**4 - 1024**3, "1,023 GiB"),
        (1024**4, "1 TiB"),
        (5000 * 1024**4, "5,000 TiB"),
    ],
)
def test_bytes_for_people(number: float, shown: str) -> None:
    assert human_bytes(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0123, "0.0123 s"),
        (1, "1 s"),
        (89.9, "89.9 s"),
        (90, "1.5 min"),
        (3600, "60 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (36_181, "10.1 h"),
        (86_400, "24 h"),
        (72 * 3600 - 1, "72 h"),
        (72 * 3600, "3 days"),
        (868_323, "10.1 days"),
        (100 * 86_400, "100 days"),
        (999 * 86_400, "999 days"),
        (3_472 * 86_400, "3,472 days"),
    ],
)
def test_times_for_people(seconds: float, shown: str) -> None:
    assert human_seconds(seconds) == shown
