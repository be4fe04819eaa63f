"""Licences as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.config.schema.data import PERMISSIVE
from albor.data.licences import UNKNOWN, of_project, of_text, spdx

WRITTEN = {
    "MIT": ("mit", "The MIT License", "MIT License", "Expat", "License :: OSI Approved :: MIT License"),
    "Apache-2.0": (
        "apache-2.0",
        "Apache 2.0",
        "Apache License, Version 2.0",
        "Apache Software License",
        "ASL 2.0",
        "Apache-2.0 WITH LLVM-exception",
        "License :: OSI Approved :: Apache Software License",
    ),
    "BSD-2-Clause": ("bsd-2-clause", "Simplified BSD", 'BSD 2-Clause "Simplified" License'),
    "BSD-3-Clause": (
        "bsd-3-clause",
        "New BSD",
        "BSD (3-clause)",
        "3-Clause BSD License",
        'BSD 3-Clause "New" or "Revised" License',
        "BSD",
        "License :: OSI Approved :: BSD License",
    ),
    "ISC": ("isc", "License :: OSI Approved :: ISC License (ISCL)"),
    "Unlicense": ("unlicense", "The Unlicense (Unlicense)"),
    "CC0-1.0": ("cc0-1.0", "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication"),
    "Zlib": ("zlib", "zlib/libpng License"),
    "PSF-2.0": ("PSF", "Python Software Foundation License", "PSF-2.0"),
    "BSL-1.0": ("bsl-1.0", "Boost Software License 1.0 (BSL-1.0)"),
    "GPL-3.0-only": ("GNU General Public License v3 or later (GPLv3+)", "gpl-3.0", "GPL"),
    "GPL-2.0-only": ("GPLv2+", "gpl-2.0"),
    "LGPL-2.1-only": ("LGPL-2.1",),
    "MPL-2.0": ("Mozilla Public License 2.0 (MPL 2.0)",),
    "ODC-By-1.0": ("odc-by",),
    UNKNOWN: ("", "Proprietary", "Dual License", "OSI Approved", "Public Domain", "BSL", "see LICENSE.txt"),
}


@pytest.mark.parametrize(("identifier", "text"), [(i, text) for i, texts in WRITTEN.items() for text in texts])
def test_usual_names_are_known(identifier: str, text: str) -> None:
    assert spdx(text) == identifier
    assert spdx(text.upper()) == identifier


@pytest.mark.parametrize("identifier", PERMISSIVE)
def test_an_identifier_means_itself(identifier: str) -> None:
    assert spdx(identifier) == identifier


@pytest.mark.parametrize(
    ("expression", "meaning"),
    [
        ("MIT OR Apache-2.0", "MIT"),
        ("GPL-3.0-or-later OR MIT", "MIT"),
        ("GPL-2.0-or-later OR LGPL-3.0-only", "GPL-2.0-only"),
        ("MIT/Apache-2.0", "MIT"),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", "BSD-3-Clause"),
        ("MIT AND GPL-3.0-only", "GPL-3.0-only"),
        ("MIT AND Something-New", UNKNOWN),
        ("MIT, GPL", "GPL-3.0-only"),
        ("(MIT OR GPL-2.0-only) AND GPL-3.0-only", "GPL-3.0-only"),
        ("MIT AND (GPL-2.0-only OR BSD-2-Clause)", "MIT"),
        ("((GPL-2.0-only OR ISC) AND (MPL-2.0 OR Zlib))", "ISC"),
    ],
)
def test_expressions_give_the_licence_to_go_by(expression: str, meaning: str) -> None:
    assert spdx(expression) == meaning


@given(
    text=st.text(max_size=200)
    | st.lists(st.sampled_from(["MIT", "or", "AND", "(", ")", "/", ",", "::", "x"])).map(" ".join)
)
def test_any_text_has_an_answer(text: str) -> None:
    assert spdx(text)
    assert of_text(text)


def test_nothing_is_unknown() -> None:
    assert spdx(None) == UNKNOWN


BSD2 = """Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met: ... list of conditions ..."""
BSD3 = BSD2 + " Neither the name of the copyright holder nor the\nnames of its contributors may be used"
BSD4 = BSD2 + " All advertising materials mentioning features or use of this software must"
MIT0 = "Permission is hereby granted, free of charge, to any person obtaining a copy\nof this software"
MIT = MIT0 + " ... The above copyright notice and this permission notice shall be\nincluded in all copies"
ZERO = "Permission to use, copy, modify, and/or distribute this software for any\npurpose with or without fee"
ISC = ZERO + " provided that the above copyright notice and this permission notice appear in all copies."


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (BSD2, "BSD-2-Clause"),
        (BSD3, "BSD-3-Clause"),
        (BSD4, "BSD-4-Clause"),
        (MIT, "MIT"),
        (MIT0, "MIT-0"),
        (ISC, "ISC"),
        (ZERO, "0BSD"),
        ("Apache License\n  Version 2.0, January 2004", "Apache-2.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE Version 3 ... the GNU General Public License", "LGPL-3.0-only"),
        (f"Copyright us\n{MIT}\n\nBundled parts: Apache License, Version 2.0", "MIT"),
        (f"{BSD2}{' word' * 1000}\nBundled parts: {BSD3}", "BSD-2-Clause"),
        ("All rights reserved.", UNKNOWN),
    ],
)
def test_a_licence_is_known_by_its_own_words(text: str, identifier: str) -> None:
    assert of_text(text) == identifier


def metadata(*lines: str) -> str:
    return "\n".join(("Metadata-Version: 2.1", "Name: x", *lines, "", "License: GPL in the description"))


@pytest.mark.parametrize(
    ("lines", "texts", "identifier"),
    [
        (["License-Expression: MIT", "License: GPL"], [], "MIT"),
        (["License: Apache-2.0"], [], "Apache-2.0"),
        (["License: MIT License", "Classifier: License :: OSI Approved :: BSD License"], [], "MIT"),
        (
            ["License: MIT", "Classifier: License :: OSI Approved :: GNU Affero General Public License v3"],
            [],
            "AGPL-3.0-only",
        ),
        (["Classifier: License :: OSI Approved :: BSD License"], [], "BSD-3-Clause"),
        (["Classifier: License :: OSI Approved :: BSD License"], [MIT, BSD2], "BSD-2-Clause"),
        (["License: BSD"], [BSD4], "BSD-4-Clause"),
        (["License: " + MIT.replace("\n", "\n        ") + " x" * 100], [], "MIT"),
        (["License-File: LICENSE"], [MIT], "MIT"),
        (["License-File: LICENSE"], [MIT, "GNU General Public License"], "GPL-3.0-only"),
        (["Classifier: License :: OSI Approved"], ["our own words"], UNKNOWN),
        (["License-Expression: LicenseRef-Ours", "License: MIT"], [MIT], UNKNOWN),
        ([], [], UNKNOWN),
    ],
)
def test_a_project_is_known_by_its_metadata_and_then_by_its_files(
    lines: list[str], texts: list[str], identifier: str
) -> None:
    assert of_project(metadata(*lines), texts) == identifier
