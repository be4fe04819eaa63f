"""Licences as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.config.schema.data import PERMISSIVE
from albor.data.licences import UNKNOWN, header_licence, of_project, of_text, spdx

CLOSED = (
    "MIT (non-commercial use only)",
    "Apache 2.0 (with Commons Clause)",
    "Apache-2.0 with Commons Clause",
    "CC0 1.0, non-commercial",
    "MIT / Commons Clause",
    "BSD 3-Clause (revised) for research",
    "BUSL-1.1",
    "SSPL-1.0",
    "Elastic License 2.0",
    "PolyForm Noncommercial License 1.0.0",
    "License :: Other/Proprietary License",
    "License :: Free for non-commercial use",
)
WRITTEN = {
    "MIT": (
        "mit",
        "MIT License (MIT)",
        "MIT (see LICENSE)",
        "The MIT License",
        "MIT License",
        "Expat",
        "License :: OSI Approved :: MIT License",
    ),
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
    UNKNOWN: (*CLOSED, "", "Proprietary", "Dual License", "OSI Approved", "Public Domain", "BSL", "see LICENSE.txt"),
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


APACHE = "Apache License, Version 2.0"
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
        (f"Business Source License 1.1\nChange License: {APACHE}", UNKNOWN),
        (f'"Commons Clause" License Condition v1.0 ...\n{APACHE}', UNKNOWN),
        (f"{APACHE} ... Commons Clause", UNKNOWN),
        (f"Our own terms. {'word ' * 700} Bundled: {MIT}", UNKNOWN),
        (
            "MDT grants a nonexclusive, royalty-free, world-wide license to reproduce, analyze, test, perform and/or "
            "display publicly, prepare derivative works, distribute",
            "PSF-2.0",
        ),
    ],
)
def test_a_licence_is_known_by_its_own_words(text: str, identifier: str) -> None:
    assert of_text(text) == identifier


def metadata(*lines: str) -> str:
    return "\n".join(("Metadata-Version: 2.1", "Name: x", *lines, "", "License: GPL in the description"))


MIT_CLASSIFIER = "Classifier: License :: OSI Approved :: MIT License"


@pytest.mark.parametrize(
    ("lines", "texts", "identifier"),
    [
        (["License-Expression: MIT", "License: GPL"], {}, "MIT"),
        (["License: Apache-2.0"], {}, "Apache-2.0"),
        (["License: MIT License", "Classifier: License :: OSI Approved :: BSD License"], {}, "MIT"),
        (
            ["License: MIT", "Classifier: License :: OSI Approved :: GNU Affero General Public License v3"],
            {},
            "AGPL-3.0-only",
        ),
        (["Classifier: License :: OSI Approved :: BSD License"], {}, "BSD-3-Clause"),
        (["Classifier: License :: OSI Approved :: BSD License"], {"LICENSE.mit": MIT, "LICENSE": BSD2}, "BSD-2-Clause"),
        (["License: BSD"], {"LICENSE": BSD4}, "BSD-4-Clause"),
        (["License: " + MIT.replace("\n", "\n        ") + " x" * 100], {}, "MIT"),
        (["License-File: LICENSE"], {"LICENSE": MIT}, "MIT"),
        (["License-File: LICENSE"], {"LICENSE": MIT, "COPYING.parts": "GNU General Public License"}, "GPL-3.0-only"),
        (["Classifier: License :: OSI Approved"], {"LICENSE": "our own words"}, UNKNOWN),
        (["License-Expression: LicenseRef-Ours", "License: MIT"], {"LICENSE": MIT}, UNKNOWN),
        ([], {}, UNKNOWN),
        (["License: Proprietary", MIT_CLASSIFIER], {}, UNKNOWN),
        (["License: " + "our terms " * 30, MIT_CLASSIFIER], {}, UNKNOWN),
        (["Classifier: License :: Other/Proprietary License", MIT_CLASSIFIER], {}, UNKNOWN),
        (["License: see LICENSE.txt", "Classifier: License :: OSI Approved", MIT_CLASSIFIER], {}, "MIT"),
        (["License: UNKNOWN"], {"LICENSE": MIT}, "MIT"),
        ([], {"LICENSE": "All rights reserved.", "LICENSE.vendored": MIT}, UNKNOWN),
        ([MIT_CLASSIFIER], {"LICENSE": "All rights reserved."}, UNKNOWN),
        ([MIT_CLASSIFIER], {"LICENSE": "GNU General Public License"}, "GPL-3.0-only"),
        (
            ["License: Apache-2.0 or BSD-3-Clause"],
            {"LICENSE": "Either of LICENSE.APACHE and LICENSE.BSD"},
            "Apache-2.0",
        ),
        (["License-Expression: Apache-2.0"], {"LICENSE.md": f"Commons Clause ... {APACHE}"}, UNKNOWN),
        (["License: Apache-2.0"], {"LICENSE": f"Business Source License ... {APACHE}"}, UNKNOWN),
    ],
)
def test_a_project_is_known_by_its_metadata_and_then_by_its_files(
    lines: list[str], texts: dict[str, str], identifier: str
) -> None:
    assert of_project(metadata(*lines), texts) == identifier


GPL_NOTICE = """you can redistribute it and/or modify it under the terms of the GNU General
# Public License as published by the Free Software Foundation"""
TABLE = 'CLASSIFIERS = ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)", "LGPLv2"]\n'


@pytest.mark.parametrize(
    "text",
    [
        f"#!/usr/bin/env python\n# This is free: {GPL_NOTICE}\nimport os\n",
        f'"""Solvers.\n\n{GPL_NOTICE}\n"""\nimport os\n',
        "# Licensed under the LGPLv3, see COPYING\nimport os\n",
        "# coding: utf-8\n# GNU Affero General Public License v3\n",
        "# GNU Lesser General Public License\r\nimport os\r\n",
        "# This Source Code Form is subject to the terms of the Mozilla Public\n# License, v. 2.0.\n",
        "# Creative Commons Attribution-NonCommercial 4.0\n",
        "# SPDX-License-Identifier: GPL-2.0-or-later\n",
        "# SPDX-License-Identifier: LicenseRef-Ours\n",
        "# SPDX-License-Identifier: MIT AND LGPL-2.1-only\n",
        'import os\n\n__license__ = "GPLv3"\n',
        "'" * 3 + f" {GPL_NOTICE} without an end",
    ],
)
def test_a_header_that_names_a_licence_that_is_not_allowed(text: str) -> None:
    assert header_licence(text) == "licence_header"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "import os\n",
        "# Copyright 2020 Us. All rights reserved.\n",
        "# SPDX-License-Identifier: MIT\n# Not the GNU General Public License.\n",
        "# SPDX-License-Identifier: MIT OR GPL-2.0-only\n",
        f'"""Trove classifiers."""\n{TABLE}',
        f"import os\n# {GPL_NOTICE}\n",
        '"""Draws with matplotlib under this license: MPLDrawer, an example of GPL-compatible code."""\n',
        "# You can choose between two licenses when using this package:\n# 1) GNU GPLv2\n# 2) PSF license\n",
        '__license__ = "MIT"\n# general\n',
        '__license__ = "as the project"\n',
        "#" * 2_000 + f"\n# {GPL_NOTICE}",
    ],
)
def test_a_header_that_names_none_or_one_that_is_allowed(text: str) -> None:
    assert header_licence(text) is None


def test_a_header_may_name_what_the_filters_allow() -> None:
    allowed = ("MIT", "GPL-3.0-only")
    assert header_licence(f"# {GPL_NOTICE}", allowed) is None
    assert header_licence("# SPDX-License-Identifier: GPL-3.0-only\n", allowed) is None
    assert header_licence("# GNU Lesser General Public License", allowed) == "licence_header"


@given(
    st.lists(st.sampled_from(["#", "\n", '"' * 3, "r", " ", "licensed ", "gpl", "choose between ", "a "]), max_size=8)
)
def test_any_header_is_judged(pieces: list[str]) -> None:
    assert header_licence("".join(pieces) * 300) in (None, "licence_header")
