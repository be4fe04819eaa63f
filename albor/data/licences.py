"""Licences as people write them, as SPDX identifiers.

The rules err on the strict side: what is not recognised is "unknown", of several licences that all hold the least
permissive counts, and BSD without a number of clauses is read as the three-clause one, which asks for more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.parser import HeaderParser

from albor.config.schema.data import PERMISSIVE

UNKNOWN = "unknown"
_UNNUMBERED_BSD = "bsd"

# A name is matched after `_plain`: lower case, with words and numbers set apart by single spaces. The first that fits.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"(gnu )?agpl.*|.*affero.*", "AGPL-3.0-only"),
    (r"(gnu )?lgpl ?(v ?)?2.*", "LGPL-2.1-only"),
    (r"(gnu )?lgpl.*|.*(lesser|library) general public.*", "LGPL-3.0-only"),
    (r"(gnu )?gpl ?(v ?)?2.*", "GPL-2.0-only"),
    (r"(gnu )?gpl.*|.*gnu general public.*", "GPL-3.0-only"),
    (r"mpl( ?\d.*)?|mozilla public.*", "MPL-2.0"),
    (r"epl( ?\d.*)?|eclipse public.*", "EPL-2.0"),
    (r"mit 0|mit no attribution", "MIT-0"),
    (r"mit|expat|mit expat|mit x ?11|x ?11 mit", "MIT"),
    (r"apache( software)?( ?v)? ?(2( 0)?)?( with llvm exception)?|asl 2( 0)?", "Apache-2.0"),
    (r"(0|zero clause )bsd|bsd 0 clause|bsd zero clause|0 clause bsd", "0BSD"),
    (
        r"(simplified|freebsd|2 clause|two clause) ?(bsd)?|bsd ?2( clause)?( simplified)?|bsd (simplified|two clause)",
        "BSD-2-Clause",
    ),
    (r"(new|modified|revised|3 clause|three clause) bsd( 3 clause)?", "BSD-3-Clause"),
    (r"bsd ?3( clause)?( (new|modified|revised).*)?|bsd (new|modified|revised|three clause)", "BSD-3-Clause"),
    (r"(original|4 clause) bsd|bsd ?4( clause)?|bsd original", "BSD-4-Clause"),
    (r"bsd( style| like)?", _UNNUMBERED_BSD),
    (r"isc|iscl|isc iscl|internet systems consortium", "ISC"),
    (r"(the )?unlicense", "Unlicense"),
    (r"cc ?0( 1 0)?( universal)?.*|creative commons zero.*", "CC0-1.0"),
    (r"zlib( libpng)?", "Zlib"),
    (r"psf( 2( 0)?)?|psfl|python|python ?2( 0)?|python software foundation( version 2)?", "PSF-2.0"),
    (r"bsl 1 0|boost( software)?( 1 0)?", "BSL-1.0"),
    (r"odc by( 1 0)?|open data commons attribution.*", "ODC-By-1.0"),
    (r"cc by (\d) 0", r"CC-BY-\1.0"),
    (r"cc by sa (\d) 0", r"CC-BY-SA-\1.0"),
)
_NAMES_COMPILED = tuple((re.compile(pattern), identifier) for pattern, identifier in _NAMES)
_GROUP = re.compile(r"\(([^()]*\s(?:or|and)\s[^()]*)\)", re.IGNORECASE)
_OR = re.compile(r"\s+or\s+(?!later|newer|any)", re.IGNORECASE)
_AND = re.compile(r"\s+(?:and|&|\+)\s+", re.IGNORECASE)
_LAST_BRACKETS = re.compile(r"\([^()]*\)\s*$")
_NOISE = re.compile(r"\b(the|license|licence|licensed|licenses|version|under|terms|of|a|osi|approved|see)\b")

# What only the text of that licence says, after `_words`.
_TEXTS: tuple[tuple[str, str], ...] = (
    ("gnu affero general public license", "AGPL-3.0-only"),
    ("gnu lesser general public license", "LGPL-3.0-only"),
    ("gnu library general public license", "LGPL-2.0-only"),
    ("gnu general public license", "GPL-3.0-only"),
    ("mozilla public license version 2 0", "MPL-2.0"),
    ("apache license version 2 0", "Apache-2.0"),
    ("permission is hereby granted free of charge to any person obtaining a copy", "MIT"),
    ("redistribution and use in source and binary forms", _UNNUMBERED_BSD),
    ("permission to use copy modify and or distribute this software for any purpose", "ISC"),
    ("permission to use copy modify and distribute this software for any purpose", "ISC"),
    ("this is free and unencumbered software released into the public domain", "Unlicense"),
    ("cc0 1 0 universal", "CC0-1.0"),
    ("altered source versions must be plainly marked as such", "Zlib"),
    ("python software foundation license version 2", "PSF-2.0"),
    ("boost software license version 1 0", "BSL-1.0"),
)
_CLAUSES = 2_500
"""Characters after the first words of a BSD or MIT licence within which the rest of it stands."""


def spdx(text: str | None) -> str:
    """The SPDX identifier that ``text`` means, or "unknown".

    ``text`` is an identifier in any case, a usual name, a trove classifier, or an expression of these: of licences to
    choose from (OR) the first permissive one, of licences that all hold (AND) the first that is not permissive.
    """
    found = _expression(text or "")
    return "BSD-3-Clause" if found == _UNNUMBERED_BSD else found


def of_text(text: str) -> str:
    """The licence whose own words come first in ``text``, or "unknown"."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    starts = [(words.find(phrase), identifier) for phrase, identifier in _TEXTS]
    found = min((place for place in starts if place[0] >= 0), default=None)
    if found is None:
        return UNKNOWN
    start, identifier = found
    clauses = words[start : start + _CLAUSES]
    if identifier == _UNNUMBERED_BSD:
        return _count_clauses(clauses)
    if identifier == "MIT" and "permission notice shall be included" not in clauses:
        return "MIT-0"
    if identifier == "ISC" and "this permission notice appear in all copies" not in clauses:
        return "0BSD"
    return identifier


def of_project(metadata: str, texts: Iterable[str]) -> str:
    """The licence of a Python project by its core metadata (PKG-INFO) and, where that is not enough, its licence files.

    A License-Expression settles it. Else the License field and the classifiers count together, all of which hold, and
    where they name none the files. The files also number the clauses of a BSD licence.
    """
    headers = HeaderParser().parsestr(metadata)
    if expression := headers["License-Expression"]:
        return spdx(expression)
    stated = [headers["License"] or ""] + [c for c in headers.get_all("Classifier", []) if c.startswith("License ::")]
    named = [found for text in stated if (found := _expression(text) if len(text) < 200 else of_text(text)) != UNKNOWN]
    best = _all_hold(named)
    if best in (UNKNOWN, _UNNUMBERED_BSD):
        written = [of_text(text) for text in texts]
        if best == UNKNOWN:
            best = _all_hold([found for found in written if found != UNKNOWN])
        else:
            best = next((found for found in written if found.startswith("BSD-")), "BSD-3-Clause")
    return best


def _expression(text: str) -> str:
    """As `spdx`, but BSD without a number stays that."""
    text = text.rpartition("::")[2]
    while group := _GROUP.search(text):
        text = f"{text[: group.start()]} {_expression(group[1])} {text[group.end() :]}"
    if len(choices := _OR.split(text)) > 1:
        return _choice([_expression(choice) for choice in choices])
    if len(parts := _AND.split(text)) > 1:
        return _all_hold([_expression(part) for part in parts])
    if (found := _name(text)) != UNKNOWN:
        return found
    # Only now: Zlib/libpng is one licence, and so is "Apache License, Version 2.0".
    if len(choices := text.split("/")) > 1:
        return _choice([_expression(choice) for choice in choices])
    return _all_hold([_name(part) for part in re.split("[,;]", text)])


def _choice(found: list[str]) -> str:
    """Of licences one may choose from, the first permissive one."""
    return next((licence for licence in found if _permissive(licence)), found[0])


def _all_hold(found: list[str]) -> str:
    """Of licences that all hold, the one to go by: the first that is not permissive, else the first that is exact."""
    strict = [licence for licence in found if not _permissive(licence)]
    numbered = [licence for licence in found if licence != _UNNUMBERED_BSD]
    return next(iter([*strict, *numbered, *found]), UNKNOWN)


def _permissive(licence: str) -> bool:
    return licence in PERMISSIVE or licence == _UNNUMBERED_BSD


def _name(text: str) -> str:
    # "The Unlicense (Unlicense)" says it twice, "BSD (3-clause)" does not.
    for plain in (_plain(text), _plain(_LAST_BRACKETS.sub("", text))):
        for pattern, identifier in _NAMES_COMPILED:
            if match := pattern.fullmatch(plain):
                return match.expand(identifier)
    return UNKNOWN


def _plain(text: str) -> str:
    words = re.sub(r"[^a-z0-9]+", " ", text.lower())
    return " ".join(_NOISE.sub(" ", words).split())


def _count_clauses(text: str) -> str:
    if "all advertising materials mentioning" in text:
        return "BSD-4-Clause"
    endorsing = "neither the name", "may not be used to endorse", "may be used to endorse", "may not be used to promote"
    return "BSD-3-Clause" if any(words in text for words in endorsing) else "BSD-2-Clause"
