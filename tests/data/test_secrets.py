from __future__ import annotations

import base64
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.secrets import secret

LETTERS = string.ascii_letters
WORD = LETTERS + string.digits
URL_SAFE = WORD + "_-"
HEX = "0123456789abcdef"


def key(alphabet: str, length: int, seed: int = 0) -> str:
    """Made here, so that this file holds nothing that another scanner would stop at."""
    return "".join(random.Random(f"{seed}{alphabet}{length}").choices(alphabet, k=length))


def pem(label: str, *, header: str = "", join: str = "\n") -> str:
    body = base64.b64encode(random.Random(label).randbytes(600)).decode()
    lines = [header, *(body[i : i + 64] for i in range(0, len(body), 64))] if header else [body[:64], body[64:128]]
    return join.join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"])


TOKENS = {
    "aws_key": "AKIA" + key(string.ascii_uppercase + "234567", 16),
    "github_token": "ghp_" + key(WORD, 36),
    "github_pat": "github_pat_" + key(WORD, 22) + "_" + key(WORD, 59),
    "gitlab_token": "glpat-" + key(URL_SAFE, 20),
    "slack_token": "xoxb-" + key("2468013579", 12) + "-" + key("2468013579", 13) + "-" + key(WORD, 24),
    "slack_webhook": "hooks.slack.com/services/T"
    + key(WORD.upper(), 10)
    + "/B"
    + key(WORD.upper(), 10)
    + "/"
    + key(WORD, 24),
    "stripe_key": "sk_live_" + key(WORD, 24),
    "google_key": "AIza" + key(URL_SAFE, 34) + "a",
    "google_secret": "GOCSPX-" + key(URL_SAFE, 27) + "a",
    "model_api_key": "sk-proj-" + key(URL_SAFE, 60) + "T3BlbkFJ" + key(WORD, 60),
    "huggingface_token": "hf_" + key(LETTERS, 34),
    "pypi_token": "pypi-AgEIcHlwaS5vcmc" + key(URL_SAFE, 50) + "a",
    "npm_token": "npm_" + key(WORD, 36),
    "sendgrid_key": "SG." + key(WORD, 22) + "." + key(WORD, 43),
    "digitalocean_token": "dop_v1_" + key(HEX, 64),
    "shopify_token": "shpat_" + key(HEX, 32),
    "jwt": "eyJ" + key(WORD, 17) + ".eyJ" + key(WORD, 40) + "." + key(URL_SAFE, 42) + "a",
}


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize(
    "form", ["{}", 'TOKEN = "{}"\n', "curl -H 'Authorization: Bearer {}'", "{}\r\nx = 1", "é{}é"[1:]]
)
def test_a_token_is_named(kind: str, form: str) -> None:
    assert secret("import os\n\n" + form.format(TOKENS[kind])) == kind


def test_what_chance_puts_into_a_token_makes_it_no_example() -> None:
    """Of random ones hardly any is taken for an example; each that is would stay in the corpus."""
    for digits in ("1234", "abcd", "6abcd1"):
        assert secret("dop_v1_" + digits + key(HEX, 64 - len(digits))) == "digitalocean_token"
    assert secret("ghp_" + "fAkE" + "yOUr" + key(WORD, 28)) == "github_token"
    hidden = [seed for seed in range(10_000) if secret("dop_v1_" + key(HEX, 64, seed)) is None]
    assert len(hidden) <= 5, "about one of them is to be expected"


@pytest.mark.parametrize("kind", TOKENS)
def test_a_part_of_a_token_or_of_a_longer_word_is_none(kind: str) -> None:
    token = TOKENS[kind]
    assert secret("x = '" + token[: len(token) // 2] + "'") is None
    assert secret("x = '" + token[8:] + "'") is None
    assert secret("x = 'Z" + token + "'") is None


@pytest.mark.parametrize(
    "text",
    [
        pem("PRIVATE KEY"),
        pem("RSA PRIVATE KEY"),
        pem("RSA PRIVATE KEY", join="\r\n"),
        pem("EC PRIVATE KEY", join="\\n"),
        'KEY = "' + pem("OPENSSH PRIVATE KEY", join='\\n"\n    "') + '"',
        pem("RSA PRIVATE KEY", header="Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00AA\n"),
        pem("PGP PRIVATE KEY BLOCK", header="Version: GnuPG v1\n"),
        # Every OpenSSH key begins with these bytes, five equal letters among them.
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n",
    ],
)
def test_a_private_key_is_one_wherever_its_lines_end(text: str) -> None:
    assert secret("import ssl\n" + text) == "private_key"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AKIAIOSFODNN7EXAMPLE",
        "AKIA" + "A" * 16,
        "ghp_" + "x" * 36,
        "ghp_" + "ab12" * 9,
        "ghp_" + "YOUR" + key(WORD, 32),
        "ghp_" + "abcdef" + key(WORD, 30),
        "AKIA" + "FakeKey".upper() + key("QRSTUVWZ", 9),
        "sk-your-key-T3BlbkFJ" + key(WORD, 30),
        "AKIA" + key(string.ascii_lowercase, 16),
        "if line.startswith('-----BEGIN RSA PRIVATE KEY-----'):\n    return True\n",
        pem("CERTIFICATE"),
        pem("PUBLIC KEY"),
        "npm_config_registry = hf_hub_download('gpt2')  # sk-learn, xox, AIza, SG.",
        "def test_github_pat_is_refused_when_the_owner_of_the_repository_is_not_known_to_us(): ...",
    ],
)
def test_examples_and_code_about_secrets_hold_none(text: str) -> None:
    assert secret(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "PRIVATE KEY-----\r\n" + "Name: value\r\n" * 40,
        "PRIVATE KEY-----\n" + "Name: A: B: C:  \n  " * 5_000,
        "PRIVATE KEY-----" + " \r\n" * 30_000,
        "PRIVATE KEY-----" + "\\n\\r" * 25_000,
        "PRIVATE KEY-----\nA: " * 5_000,
        "PRIVATE KEY-----\n" + "Aa: " + "Bb: " * 25_000,
        "PRIVATE KEY-----\n" + "Ab" * 50_000 + "_",
        "sk-" * 33_000,
        "sk-ant-a" * 12_000,
        "sk-" * 50 + "T3BlbkFJ" * 12_000,
        "eyJ" * 33_000,
        "eyJ" * 16_000 + "." + "eyJ" * 16_000 + ".",
        ("eyJ" * 30 + ".") * 1_000,
        "glpat-" * 16_000,
        "xoxb-11111111-" * 7_000 + "_",
        "xoxb-" + "1" * 100_000,
        "xoxb-11111111-" + "a" * 100_000 + "_",
        "hooks.slack.com/services/T" + "A" * 50_000 + "/B" + "A" * 50_000,
        "sk_live_" * 12_000,
        "sk_live_" + "a" * 100_000 + "_",
        "pypi-AgE" * 12_000,
    ],
    ids=lambda text: text[:24].encode("unicode_escape").decode(),
)
def test_no_text_takes_long(text: str) -> None:
    """That it ends is the point; one of them has the form of a key."""
    assert secret(text) == ("model_api_key" if "T3BlbkFJ" in text else None)


def test_a_key_below_headers_with_windows_line_ends_is_one() -> None:
    text = pem("RSA PRIVATE KEY", header="Proc-Type: 4,ENCRYPTED \r\nDEK-Info: AES-128-CBC,00AA\r\n", join="\r\n")
    assert secret(text) == "private_key"
    written_out = pem("RSA PRIVATE KEY", header="Proc-Type: 4,ENCRYPTED\\nDEK-Info: AES,00AA\\n", join="\\n")
    assert secret(written_out) == "private_key"


PIECES = ("PRIVATE KEY-----", "Name: x ", "\r\n", "\\n", " ", "eyJ", "sk-", "-", ".", "T3BlbkFJ", "Ab0" * 20)


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.integers(1, 2_000))
def test_no_repetition_of_pieces_takes_long(pieces: list[str], times: int) -> None:
    assert secret("PRIVATE KEY-----" + "".join(pieces) * times) in (None, "private_key", "jwt", "model_api_key")


@given(st.text(), st.text(), st.sampled_from(sorted(TOKENS)))
def test_what_stands_around_a_token_does_not_hide_it(before: str, after: str, kind: str) -> None:
    assert secret(f"{before} {TOKENS[kind]} {after}") is not None
