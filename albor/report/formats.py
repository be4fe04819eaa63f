"""Numbers, durations and config values as a reader wants them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime

ABSENT = "–"
BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def number(value: float | None, digits: int = 4) -> str:
    """``digits`` significant digits, thousands separated, integers in full; tiny and huge ones with an exponent."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e15:
        before = len(str(int(abs(value)))) if abs(value) >= 1 else 1 - math.ceil(-math.log10(abs(value)))
        return f"{value:,.{max(0, digits - before)}f}"
    return f"{value:.{digits}g}"


def short(value: float | None) -> str:
    """``398509056`` as ``398.5M``; below 10,000 in full."""
    if value is None or not math.isfinite(value):
        return number(value)
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size * 0.99995, 1e4):
            return f"{value / size:.{1 if abs(value) >= size * 10 else 2}f}{suffix}"
    return number(int(value) if value == int(value) else value)


def size(count: int) -> str:
    """Bytes with a decimal unit: ``1.2 MB``."""
    for unit, name in BYTES:
        if count >= unit:
            return f"{count / unit:.{1 if count < unit * 100 else 0}f} {name}"
    return f"{count} B"


def duration(seconds: float | None) -> str:
    """The two largest units: ``2 h 05 min``, ``3 min 20 s``, ``0.42 s``."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return ABSENT
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def moment(text: str | None) -> str:
    """An ISO 8601 time without its fraction of a second; any other text as it is."""
    if not text:
        return ABSENT
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = when.strftime("%z")
    return when.strftime("%Y-%m-%d %H:%M:%S") + ("" if not zone else " UTC" if zone == "+0000" else f" UTC{zone}")


def fact(value: object) -> str:
    """One value of a fact table: numbers as ``number`` writes them, anything else as text."""
    if isinstance(value, float) and "." in (text := number(value, 5)):
        return text if "e" in text else text.rstrip("0").rstrip(".")
    return number(value) if isinstance(value, int | float) else ABSENT if value is None else str(value)


def flatten(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, value) of every leaf, in the config's own order. Empty mappings are leaves, lists too."""
    for key, value in config.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{dotted}.")
        else:
            yield dotted, leaf(value)


def leaf(value: object) -> str:
    """A config value as YAML would write it on one line."""
    if isinstance(value, str):
        return value or '""'
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)
