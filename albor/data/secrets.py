"""Private keys and access tokens in a text, known by the prefixes and lengths that their issuers gave them."""

from __future__ import annotations

import re

_BETWEEN = r"(?:\\[nr]|[\s\"'\\+,()#])"
"""What may stand between the lines of a key: line ends, written out or real, and what joins strings."""
_KEY_HEADER = rf"[A-Z][A-Za-z-]{{1,40}}+: [^\r\n\\]{{0,200}}+{_BETWEEN}{{1,100}}+"

# Text from strangers is searched: whatever it is, the time must grow with its length alone. So what may repeat is
# bounded, or possessive (`++`: never given back), or cannot hold the beginning of its own form.
_KINDS = {
    # Its first line and then at least one of Base64, be it in a string per line or with escaped line ends.
    "private_key": rf"PRIVATE KEY(?: BLOCK)?-----{_BETWEEN}*+(?:{_KEY_HEADER}){{0,16}}+"
    r"([A-Za-z0-9+/]{20})[A-Za-z0-9+/]{20,}",
    "aws_key": r"A(?:KIA|SIA)([A-Z2-7]{16})",
    "github_token": r"gh[oprsu]_([A-Za-z0-9]{36})",
    "github_pat": r"github_pat_([A-Za-z0-9]{22}_[A-Za-z0-9]{59})",
    "gitlab_token": r"glpat-([A-Za-z0-9_-]{20,})",
    "slack_token": r"xox[abeoprs]-([0-9]{8,}-[A-Za-z0-9-]{18,})",
    "slack_webhook": r"hooks\.slack\.com/services/(T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{24})",
    "stripe_key": r"sk_live_([A-Za-z0-9]{24,})",
    "google_key": r"AIza([A-Za-z0-9_-]{35})",
    "google_secret": r"GOCSPX-([A-Za-z0-9_-]{28})",
    "model_api_key": r"sk-(ant-[a-z0-9]{1,20}-[A-Za-z0-9_-]{80,}|[A-Za-z0-9_-]{0,200}T3BlbkFJ[A-Za-z0-9_-]{20,})",
    "huggingface_token": r"hf_([A-Za-z]{34})",
    "pypi_token": r"pypi-AgE([A-Za-z0-9_-]{50,})",
    "npm_token": r"npm_([A-Za-z0-9]{36})",
    "sendgrid_key": r"SG\.([A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})",
    "digitalocean_token": r"do[opr]_v1_([a-f0-9]{64})",
    "shopify_token": r"shp(?:at|ca|pa|ss)_([a-f0-9]{32})",
    "jwt": r"eyJ[A-Za-z0-9_-]{10,1000}+\.(eyJ[A-Za-z0-9_-]{10,4000}+\.[A-Za-z0-9_-]{20,})",
}
"""Kind and form; the group is what only the owner knows. Every form begins with letters that `re` can look for fast."""
_FORMS = {kind: re.compile(rf"{form}(?![A-Za-z0-9_])") for kind, form in _KINDS.items()}

_SAID = ("example", "placeholder", "redacted", "dummy", "fake", "your", "xxxx")
# A key that is taken for an example stays in the corpus, so chance must hardly ever make one. With `abcd` and `1234` it
# made one of 460 keys of 64 hexadecimal digits, with words of any case one of 600 web tokens of 400 letters; these are
# in one of 12,500 and of 5,000.
_EXAMPLE = re.compile(
    "|".join(form for word in _SAID for form in (word, word.upper(), word.capitalize()))
    + r"|123456|abcdef|ABCDEF|(.)\1{5}"
)
_MIN_DISTINCT = 8
"""Random keys of 16 letters have 10 to 16 different ones; those made up on a keyboard often fewer."""


def secret(text: str) -> str | None:
    """The kind of secret that ``text`` holds, or None. Obvious examples, as in documentation, are none."""
    for kind, form in _FORMS.items():
        for match in form.finditer(text):
            if not _preceded(text, match.start()) and not _is_example(match[1]):
                return kind
    return None


def _preceded(text: str, start: int) -> bool:
    """Whether what looks like a token is the end of a longer word."""
    return start > 0 and text[start - 1].isalnum()


def _is_example(key: str) -> bool:
    return len(set(key)) < _MIN_DISTINCT or _EXAMPLE.search(key) is not None
