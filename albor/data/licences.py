"""Licences as people write them, as SPDX identifiers.

The rules err on the strict side: what is not recognised is "unknown", and one such part makes the whole unknown; of
several licences that all hold the least permissive counts; a permissive licence with a condition added is none; and BSD
without a number of clauses is read as the three-clause one, which asks for more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from email.message import Message
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
_LAST_BRACKETS = re.compile(r"^([^()]*)\(([^()]*)\)\s*$")
_NOISE = re.compile(r"\b(the|license|licence|licensed|licenses|version|under|terms|of|a|osi|approved|see)\b")
_RESTRICTED = re.compile(
    r"\b(commons clause|poly ?form|business source|busl|server side public|sspl|elastic license|elastic 2"
    r"|functional source|fsl|confluent|non ?commercial|commercial|proprietary|restrict|research|academic|evaluation)"
)
"""What makes any name, however it goes on, one of a licence that is not open."""
_SAYS_NOTHING = re.compile(r"((file )?(txt|md|rst|file|copying( txt)?)( file)?|unknown|none|n a|dual|dfsg)?")
"""After `_plain`: values that name no licence but refer to a file, or are there for want of a better one."""
_LONGEST_NAME = 200
"""Characters of a License field that may be a name or expression; what is longer is a text."""
_LONGEST_EXPRESSION = 1_000

_OWN_FILE = re.compile(r"(licen[cs]e|copying)(\.(txt|md|rst))?", re.IGNORECASE)
"""The file with the project's own licence; others may hold those of what it bundles."""

# Licences that name others, as what they become later or build upon: wherever these words stand, they hold.
_CLOSED = (
    *("business source license", "server side public license", "elastic license", "functional source license"),
    *("commons clause", "polyform", "end user license agreement"),
    *("creative commons attribution noncommercial", "creative commons attribution non commercial"),
)
# What only the text of that licence says, as `_words` gives it.
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
    # The same words under the name of another team, as matplotlib's.
    ("license to reproduce analyze test perform and or display publicly prepare derivative works", "PSF-2.0"),
    ("boost software license version 1 0", "BSL-1.0"),
)
_CLAUSES = 2_500
"""Characters after the first words of a BSD or MIT licence within which the rest of it stands."""
_PREAMBLE = 3_000
"""Characters, copyright lines above all, after which a text's own licence has begun; later ones are of its parts."""

# What a file's own header names, after `_words`. The abbreviations only where they are said to be its licence.
_HEADER_NAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"affero general public|licen[cs]e[ds]?( \w+){0,4} agpl\b(?! compat)|\bagpl ?v?\d", "AGPL"),
        (r"(lesser|library) general public|licen[cs]e[ds]?( \w+){0,4} lgpl\b(?! compat)|\blgpl ?v?\d", "LGPL"),
        (
            r"general public licen[cs]e|licen[cs]e[ds]?( \w+){0,4} gpl\b(?! compat)|\bgpl ?v?\d|\bgpl licen[cs]ed?\b",
            "GPL",
        ),
        (r"mozilla public licen[cs]e|licen[cs]e[ds]?( \w+){0,4} mpl( ?v?\d|\b)", "MPL"),
        (r"attribution non ?commercial|\bcc by nc\b", "CC-BY-NC"),
    )
)
_CHOICE = re.compile(r"choose between( \w+){0,20} (psf|mit|bsd|apache)")
_HEADER = 2_000
"""Characters within which a file's own licence is named."""
_HEADER_HINTS = ("gpl", "general", "mozilla", "mpl", "commercial", "by-nc", "spdx-", "__license__")
_TOP = re.compile(r"(?:\s++|#[^\n]*+|[rRuU]?(?:\"{3}.*?(?:\"{3}|\Z)|'{3}.*?(?:'{3}|\Z)))*+", re.DOTALL)
"""Comments and docstring before the first code."""
_SPDX_LINE = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n*\"']{1,200})")
_DUNDER = re.compile(r"^__license__ *= *[\"']([^\"'\r\n]{1,200})", re.MULTILINE)


def spdx(text: str | None) -> str:
    """The SPDX identifier that ``text`` means, or "unknown".

    ``text`` is an identifier in any case, a usual name, a trove classifier, or an expression of these: of licences to
    choose from (OR) the first permissive one, of licences that all hold (AND) the first that is not permissive.
    """
    found = _expression(text or "") if len(text or "") <= _LONGEST_EXPRESSION else UNKNOWN
    return "BSD-3-Clause" if found == _UNNUMBERED_BSD else found


def of_text(text: str) -> str:
    """The licence whose own words come first in ``text``, or "unknown". One that is not open comes before the rest."""
    words = _words(text)
    if _closed(words):
        return UNKNOWN
    starts = [(words.find(phrase, 0, _PREAMBLE), identifier) for phrase, identifier in _TEXTS]
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


def of_project(metadata: str, texts: Mapping[str, str]) -> str:
    """The licence of a Python project by its core metadata (PKG-INFO) and its licence files: text by name.

    A License-Expression, else the License field with the classifiers, else the files say what it is, and all of these
    hold. Where the project's own licence file says otherwise, the stricter counts. The files also number the clauses
    of a BSD licence.
    """
    headers = HeaderParser().parsestr(metadata)
    own = {name: text for name, text in texts.items() if _OWN_FILE.fullmatch(name)}
    if any(_closed(_words(text)) for text in own.values()):
        return UNKNOWN
    if expression := headers["License-Expression"]:
        return spdx(expression)
    written = [of_text(text) for text in {**own, **texts}.values()]
    stated = _stated(headers)
    best = _all_hold(stated or written)
    best = _all_hold([best, *(found for text in own.values() if (found := _beside(text, best)))])
    if best == _UNNUMBERED_BSD:
        return next((found for found in written if found.startswith("BSD-")), "BSD-3-Clause")
    return best


def header_licence(text: str, allowed: Collection[str] = PERMISSIVE) -> str | None:
    """ "licence_header" where a Python file says at its top that it is under a licence that is not allowed, or None.

    Its first SPDX-License-Identifier settles it, within its first 2,000 characters. Else the comments and the docstring
    before its code must not name the GPL family, the MPL or CC-BY-NC, nor its ``__license__`` a licence that is known
    and not allowed. A file that names none has its project's.
    """
    top = text[:_HEADER]
    lower = top.lower()
    if not any(hint in lower for hint in _HEADER_HINTS):
        return None
    if tagged := _SPDX_LINE.search(top):
        return None if spdx(tagged[1]) in allowed else "licence_header"
    if (named := _DUNDER.search(top)) and spdx(named[1]) not in (UNKNOWN, *allowed):
        return "licence_header"
    comments = _TOP.match(top)
    words = _words(comments[0]) if comments else ""
    if _CHOICE.search(words):
        return None
    family = next((family for pattern, family in _HEADER_NAMES if pattern.search(words)), None)
    return "licence_header" if family and not any(each.startswith(family) for each in allowed) else None


def _stated(headers: Message) -> list[str]:
    """What the metadata says, less what names no licence; a License that is long is the text of one."""
    classifiers = [
        line.rpartition("::")[2] for line in headers.get_all("Classifier", []) if line.startswith("License ::")
    ]
    values = [value for value in (headers["License"] or "", *classifiers) if not _says_nothing(value)]
    return [_expression(value) if len(value) < _LONGEST_NAME else of_text(value) for value in values]


def _says_nothing(value: str) -> bool:
    return _SAYS_NOTHING.fullmatch(_plain(value)) is not None


def _beside(text: str, best: str) -> str | None:
    """What the project's own licence file adds to ``best``: nothing where it only refers to that, as in "either of the
    licences in LICENSE.APACHE and LICENSE.BSD"."""
    found = of_text(text)
    return None if found == UNKNOWN and best.partition("-")[0].lower() in _words(text).split() else found


def _closed(words: str) -> bool:
    return any(phrase in words for phrase in _CLOSED)


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _expression(text: str) -> str:
    """As `spdx`, but BSD without a number stays that."""
    text = text.rpartition("::")[2]
    while group := _GROUP.search(text):
        text = f"{text[: group.start()]} {_expression(group[1])} {text[group.end() :]}"
    if len(choices := _OR.split(text)) > 1:
        return _choice([_expression(choice) for choice in choices])
    if len(parts := _AND.split(text)) > 1:
        return _all_hold([_expression(part) for part in parts])
    if _RESTRICTED.search(_plain(text)):
        return UNKNOWN
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
    """A last bracket counts: "BSD (3-clause)". It may also say the name again, "The Unlicense (Unlicense)"."""
    found = _known(_plain(text))
    if found != UNKNOWN or not (bracket := _LAST_BRACKETS.match(text)):
        return found
    outside, inside = _known(_plain(bracket[1])), _known(_plain(bracket[2]))
    if outside == _UNNUMBERED_BSD and inside.startswith("BSD-"):
        return inside
    return outside if outside == inside or _says_nothing(bracket[2]) else UNKNOWN


def _known(plain: str) -> str:
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
