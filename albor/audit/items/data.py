"""Data governance: licences, provenance, secrets, contamination, splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from albor.audit.corpus import read_json
from albor.audit.facts import Facts, fact
from albor.audit.item import Outcome, beside, holds, item, listed, unknown
from albor.config.schema.data import PERMISSIVE
from albor.config.schema.sources import HubSource, MixSource, PypiSource, Source, StdlibSource

if TYPE_CHECKING:
    from albor.data.card import SourceRow

NOT_KNOWN = ("", "unknown")
RESTRICTED = re.compile(
    r"(?:^|[-_ ])(?:NC|ND)(?:[-_ ]|$)|non-?commercial|no-?deriv|busl|business.source|sspl|elastic|polyform"
    r"|commons.clause|proprietary|research|evaluation",
    re.IGNORECASE,
)
"""Licences that forbid commercial use, or changes."""
COMMIT, SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


def share(rows: Iterable[SourceRow], every: Iterable[SourceRow]) -> str:
    part, whole = (sum(row.documents for row in given) for given in (rows, every))
    return f"{part:,} of {whole:,} documents ({part / whole:.1%})" if whole else "no document"


def by_licence(rows: Iterable[SourceRow]) -> str:
    counts = Counter[str]()
    for row in rows:
        counts[row.licence or "none"] += row.documents
    return ", ".join(f"{licence} {count:,}" for licence, count in counts.most_common(6))


@item("A-DATA-01", "Every document has a known licence", severity="critical")
def licences_known(facts: Facts) -> Outcome:
    rows = facts.corpus.sources
    bad = [row for row in rows if row.licence in NOT_KNOWN]
    return holds(not bad, f"{share(bad, rows)} without one; {by_licence(rows)}")


@item("A-DATA-02", "The licences are permissive", severity="major")
def licences_permissive(facts: Facts) -> Outcome:
    rows = facts.corpus.sources
    free = [row for row in rows if row.licence in PERMISSIVE]
    others = [row for row in rows if row.licence not in PERMISSIVE]
    return holds(not others, f"{share(free, rows)} permissive" + (f"; others: {by_licence(others)}" if others else ""))


@item("A-DATA-03", "No licence forbids commercial use or changes", severity="critical")
def licences_open(facts: Facts) -> Outcome:
    rows = facts.corpus.sources
    bad = [row for row in rows if RESTRICTED.search(row.licence)]
    return holds(not bad, f"{share(bad, rows)} restricted" + (f": {by_licence(bad)}" if bad else ""))


@item("A-DATA-04", "Every source is pinned", severity="major")
def pinned(facts: Facts) -> Outcome:
    found = list(pins(facts.corpus.config.source, facts.corpus.run.manifest.identity))
    bad = [text for good, text in found if not good]
    return holds(not bad, listed(bad or [text for _, text in found]))


def pins(source: Source, identity: Mapping[str, str], part: str = "") -> Iterator[tuple[bool, str]]:
    """Whether each source's content is fixed, and by what."""
    title = part.rstrip(".") or source.kind
    if isinstance(source, MixSource):
        for name, inner in source.parts.items():
            yield from pins(inner.source, identity, f"{name}.")
    elif isinstance(source, PypiSource):
        loose = [name for name, archive in source.packages.items() if not SHA256.fullmatch(archive.sha256)]
        count = f"{title}: {len(source.packages):,} archives by SHA-256"
        yield not loose, f"{title}: {', '.join(loose)} without SHA-256" if loose else count
    elif isinstance(source, HubSource):
        yield COMMIT.fullmatch(source.revision) is not None, f"{title}: revision {source.revision}"
    elif isinstance(source, StdlibSource):
        version = identity.get(f"{part}python")
        yield version is not None, f"{title}: the library of Python {version}"
    else:
        listing = identity.get(f"{part}listing", "missing")
        yield listing != "missing", f"{title}: names, sizes and times of its files, {listing[:12]}"


@item("A-DATA-05", "The documents are those that were hashed", severity="critical")
def documents_hashed(facts: Facts) -> Outcome:
    sample = facts.corpus.sample
    text = f"{len(sample.altered):,} of {sample.count:,} documents looked into have another text than their SHA-256"
    return holds(
        not sample.altered and sample.count > 0, text + (f": {listed(sample.altered)}" if sample.altered else "")
    )


@item("A-DATA-06", "Documents with secrets were dropped", severity="critical")
def secrets_filter(facts: Facts) -> Outcome:
    step = facts.corpus.step("secrets")
    on = facts.corpus.config.filters.secrets
    state = (
        f"{step.taken - step.kept:,} of {step.taken:,} documents dropped" if on else "data.filters.secrets was false"
    )
    return holds(on, state)


@item("A-DATA-07", "No secret is left", severity="critical")
def secrets_left(facts: Facts) -> Outcome:
    sample = facts.corpus.sample
    found = f": {listed(sample.secrets)}" if sample.secrets else ""
    text = f"{len(sample.secrets):,} of {sample.count:,} documents looked into hold what looks like one{found}"
    return holds(not sample.secrets and sample.count > 0, text)


@item("A-DATA-08", "The documents were searched for benchmarks", severity="major")
def benchmarks_searched(facts: Facts) -> Outcome:
    names = facts.corpus.run.manifest.facts.get("benchmarks") or []
    if not names:
        return holds(False, "for none: evals.data_dir was not set")
    step, files = facts.corpus.step("benchmarks"), facts.corpus.run.manifest.identity.get("benchmarks", "not recorded")
    dropped = f"{step.taken - step.kept:,} of {step.taken:,} documents dropped"
    return holds(True, f"{', '.join(names)} (files {files[:12]}): {dropped}")


@item("A-DATA-10", "No package lies in both splits", severity="critical")
def packages_apart(facts: Facts) -> Outcome:
    packages = {
        split: {(row.source, row.package) for row in facts.corpus.sources if row.split == split}
        for split in ("train", "val")
    }
    both = sorted(package for _, package in packages["train"] & packages["val"])
    if len(packages["train"] | packages["val"]) == 1:
        return beside(f"there is one package, {both[0] if both else 'whole'}: single documents are held out")
    text = f"{len(packages['train']):,} packages train, {len(packages['val']):,} validate"
    return holds(not both, text + (f", {len(both):,} do both: {listed(both)}" if both else ""))


@item("A-DATA-11", "No document lies in both splits", severity="critical")
def documents_apart(facts: Facts) -> Outcome:
    import pyarrow.compute as pc

    train, val = (facts.corpus.hashes(split) for split in ("train", "val"))
    both = pc.sum(pc.is_in(val, value_set=train)).as_py() or 0
    text = f"{both:,} of {len(val):,} validation documents are among the {len(train):,} training documents, by SHA-256"
    return holds(both == 0, text)


@item("A-DATA-12", "Every document is accounted for", severity="major")
def accounted(facts: Facts) -> Outcome:
    steps, documents = list(facts.corpus.steps.values()), fact(facts.corpus.run, "documents")
    if not steps:
        return unknown("steps.json is empty")
    wrong = [step.name for step in steps if step.taken != step.kept + sum(step.rejected.values())]
    wrong += [b.name for a, b in pairwise(steps) if a.kept != b.taken]
    left = sum(row.documents for row in facts.corpus.sources)
    if steps[-1].kept != left or sum(documents.values()) != left:
        wrong.append("the last step")
    text = f"{steps[0].taken:,} read, {steps[0].taken - left:,} rejected with a reason, {left:,} left"
    if wrong:
        text += f"; the counts of {', '.join(dict.fromkeys(wrong))} do not add up"
    return holds(not wrong, text)


@item("A-DATA-13", "Documents are held out", severity="critical")
def held_out(facts: Facts) -> Outcome:
    documents = fact(facts.corpus.run, "documents")
    rows = fact(facts.upstream("pack"), "val_sequences")
    text = f"{documents['val']:,} of {sum(documents.values()):,} documents, {rows:,} rows"
    return holds(documents["val"] > 0 and rows > 0, text)


@item("A-DATA-14", "Near duplicates were dropped", severity="minor")
def near_duplicates(facts: Facts) -> Outcome:
    dedup, step = facts.corpus.config.dedup, facts.corpus.step("near")
    if not dedup.near:
        return holds(False, "data.dedup.near was false: only exact duplicates went")
    return holds(
        True, f"{step.taken - step.kept:,} of {step.taken:,} documents, at a similarity of {dedup.threshold:g}"
    )


@item("A-DATA-15", "The provenance page says what the data card says", severity="major")
def provenance_page(facts: Facts) -> Outcome:
    from albor.data.card import DataCard
    from albor.data.provenance import provenance

    run = facts.upstream("pack")
    card = DataCard.from_json(read_json(run.artifact / "card.json"))
    page = (run.artifact / "PROVENANCE.md").read_text(encoding="utf-8")
    hashes = {name: known.sha256 for name, known in run.manifest.files.items()}
    other = [shard.file for shard in card.shards if shard.sha256 != hashes.get(shard.file)]
    lines = len(page.splitlines())
    if page != provenance(card):
        return holds(False, f"PROVENANCE.md ({lines:,} lines) is not what its card.json gives")
    text = f"{lines:,} lines, as card.json gives them; SHA-256 of {len(card.shards):,} files of rows"
    return holds(not other, text + (f", of which {listed(other)} are others" if other else ""))
