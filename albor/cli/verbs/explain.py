"""``albor explain [KEY|CONTRACT|CODE]``: what it means, what it defaults to, what it is for."""

from __future__ import annotations

import textwrap
from typing import Any

from albor.cli.arguments import Arguments
from albor.cli.render import paint, table
from albor.config.problems import CODES, ConfigRefused, Problem
from albor.config.suggest import nearest, nearest_key
from albor.contracts import LEVELS, RULES, Contract, Kernel, Rule
from albor.plan.keys import Key, entry_keys, generic, keys, sweep_keys


def run(arguments: Arguments) -> int:
    if not arguments.words:
        overview()
        return 0
    for i, word in enumerate(arguments.words):
        print("\n" if i else "", end="")
        print(explanation(word))
    return 0


def explanation(word: str) -> str:
    """Raises ConfigRefused when nothing is called so."""
    if word.upper() in RULES:
        return contract_text(RULES[word.upper()])
    if word.upper() in CODES:
        return f"{paint(word.upper(), 'bold')}\n{fill(CODES[word.upper()])}"
    known = keys() | entry_keys() | sweep_keys()
    meant = word if word in known else generic(word)
    if meant in known:
        return key_text(known[meant])
    section = [k for path, k in known.items() if path.startswith(f"{meant}.")]
    if section:
        return table([["", "", ""], *[[k.path, default(k), first_sentence(k.help)] for k in section]]).split("\n", 1)[1]
    guess = nearest(word.upper(), [*RULES, *CODES]) or nearest_key(word, known)
    fix = f"did you mean `albor explain {guess}`?" if guess else "`albor explain` lists what there is"
    raise ConfigRefused([Problem("E-KEY", "explain", f"'{word}' is no key, contract or error code", fix)])


def overview() -> None:
    print(paint("keys", "bold"))
    print(
        table([["", "", ""], *[[k.path, default(k), first_sentence(k.help)] for k in keys().values()]]).split("\n", 1)[
            1
        ]
    )
    print(paint("\ncontracts", "bold"))
    print(table([["", ""], *[[c.id, c.title] for c in RULES.values()]]).split("\n", 1)[1])
    print(paint("\nerror codes", "bold"))
    print(table([["", ""], *[[c, first_sentence(t)] for c, t in CODES.items()]]).split("\n", 1)[1])


def contract_text(contract: Rule) -> str:
    lines = [f"{paint(contract.id, 'bold')}  {contract.title}", f"  rule       {contract.formula}"]
    if contract.history:
        lines.append(textwrap.fill(contract.history, 100, initial_indent="  history    ", subsequent_indent=" " * 13))
    lines.append(f"  level      {contract.level}, {LEVELS[contract.level]}")
    if contract.needs:
        lines.append(f"  needs      {', '.join(contract.needs)}")
    if isinstance(contract, Kernel):
        lines.append(f"  kept by    {contract.where}")
    elif isinstance(contract, Contract):
        lines.append(f"  stages     {', '.join(contract.stages)}")
        lines.append(f"  let pass   allow=[{contract.id}] turns its errors into warnings, and the manifest keeps that")
    return "\n".join(lines)


def key_text(key: Key) -> str:
    return "\n".join(
        [
            paint(key.path, "bold"),
            fill(key.help),
            f"  type     {key.type}",
            f"  default  {default(key)}",
            f"  schema   {key.owner}",
        ]
    )


def default(key: Key) -> str:
    return "(set in YAML)" if key.required else show(key.default)


def show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, (tuple, list)) else str(value)


def first_sentence(text: str) -> str:
    return text.split(". ")[0].split("; ")[0].rstrip(".")


def fill(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  ")
