"""The shipped config in Neovim itself: what is shown, what a key takes, what it does otherwise."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.editors.programs import ANSWER, CONFIGS, environment, program
from tests.serve.infill import Infill, infill, until

pytest.importorskip("pygls", reason="pip install 'albor[serve]'")

SHOWN = """
local found = {}
for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(
  0, vim.api.nvim_create_namespace('nvim.lsp.inline_completion'), 0, -1, { details = true })) do
  for _, line in ipairs({ mark[4].virt_text or {}, unpack(mark[4].virt_lines or {}) }) do
    local text = vim.iter(line):map(function(piece) return piece[1] end):join('')
    table.insert(found, text)
  end
end
return found
"""
"""The lines of the suggestion that is shown."""


class Neovim:
    """A Neovim without a terminal, driven from outside: keys go in as if they were typed."""

    def __init__(self, program: str, socket: Path, env: dict[str, str]) -> None:
        self._remote = [program, "--clean", "--headless", "--server", str(socket)]
        self._env = env

    def type(self, keys: str) -> None:
        """In Vim's notation, ``<Tab>`` for the key."""
        subprocess.run([*self._remote, "--remote-send", keys], env=self._env, check=True, timeout=20)

    def lua(self, code: str) -> Any:
        """What a chunk of Lua returns, by way of JSON."""
        chunk = f"vim.json.encode({{ (function() {code} end)() }})".replace("'", "''").replace("\n", " ")
        expression = f"luaeval('{chunk}')"
        done = subprocess.run(
            [*self._remote, "--remote-expr", expression],
            env=self._env,
            check=True,
            timeout=20,
            capture_output=True,
            text=True,
        )
        return next(iter(json.loads(done.stdout or done.stderr)), None)

    def lines(self) -> list[str]:
        return list(self.lua("return vim.api.nvim_buf_get_lines(0, 0, -1, false)"))

    def mode(self) -> str:
        return str(self.lua("return vim.api.nvim_get_mode().mode"))

    def shown(self) -> list[str]:
        return list(self.lua(SHOWN))


@contextmanager
def neovim(tmp_path: Path, server: Infill, text: str, given: str = "") -> Iterator[Neovim]:
    """One that has opened a file, with the shipped config as the guide says."""
    editor = program("ALBOR_NVIM", "nvim")
    env = environment(tmp_path)
    config = tmp_path / "config" / "nvim"
    (config / "lua").mkdir(parents=True)
    shutil.copy(CONFIGS / "neovim" / "albor.lua", config / "lua")
    options = given or f"options = {{ url = '{server.url}' }}"
    setup = f"require('albor').setup({{ {options} }})"
    (config / "init.lua").write_text(f"vim.o.swapfile = false\nvim.o.completeopt = 'menuone,noinsert'\n{setup}\n")
    file, socket = tmp_path / "a.py", tmp_path / "run" / "nvim"
    file.write_text(text)
    with subprocess.Popen(
        [editor, "--headless", "--listen", str(socket), str(file)], env=env, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(socket.exists, "Neovim")
            driven = Neovim(editor, socket, env)
            attached = "local c = vim.lsp.get_clients({ bufnr = 0, name = 'albor' })[1]; return c and c.initialized"
            until(lambda: driven.lua(attached), "the language server")
            yield driven
        finally:
            process.kill()


@pytest.fixture
def server() -> Iterator[Infill]:
    with infill() as served:
        served.says = ANSWER
        yield served


DID = {
    "function() return 'a<Space>b' end, { expr = true }": "a b",
    "function() vim.api.nvim_put({ 'put' }, 'c', true, true) end": "put",
    "'<C-v>u20ac'": "€",
    "'<Plug>(x)', { remap = true }); vim.keymap.set('i', '<Plug>(x)', 'plug'": "plug",
    """ "'<Char-0x20ac>' .. 'f'", { expr = true } """: "€f",
    """ "'e' .. 'f'", { expr = true, replace_keycodes = false } """: "ef",
}
"""What a key may have been mapped to, and what it typed then."""


@pytest.fixture
def inline(tmp_path: Path) -> None:
    """Skips where Neovim has no inline completion yet."""
    version = subprocess.run([program("ALBOR_NVIM", "nvim"), "--version"], capture_output=True, text=True, check=True)
    found = tuple(int(part) for part in re.findall(r"NVIM v(\d+)\.(\d+)", version.stdout)[0])
    if found < (0, 12):
        pytest.skip(f"Neovim {found[0]}.{found[1]} has no inline completion; 0.12 has")


@pytest.mark.usefixtures("inline")
def test_a_suggestion_is_shown_and_taken(tmp_path: Path, server: Infill) -> None:
    with neovim(tmp_path, server, 'x = 1\n\n    # "🙂"\ny = 2\n') as editor:
        editor.type("2Gidef ")
        until(lambda: editor.shown() == ["add(a, b):", "    return a + b"], "a suggestion")
        body = server.asked[-1].body
        assert (body["input_prefix"], body["input_suffix"]) == ("x = 1\ndef ", '\n    # "🙂"\ny = 2\n')
        server.says = ""  # to what Neovim asks next
        editor.type("<Tab>")
        until(lambda: len(editor.lines()) == 5, "the lines")
        assert editor.mode() == "i" and editor.shown() == []
        server.says = ": 🙂\nz = 3"  # at the cursor's column, not at the line's indentation
        editor.type("<Esc>jA; é")
        until(lambda: editor.shown() == [": 🙂", "z = 3"], "another suggestion")
        assert server.asked[-1].body["input_prefix"].endswith('return a + b\n    # "🙂"; é')
        editor.type("<Tab>")
        until(lambda: len(editor.lines()) == 6, "the lines")
        editor.type("<Esc>:w<CR>")
        until(lambda: not editor.lua("return vim.bo.modified"), "the file")
        written = (tmp_path / "a.py").read_text()
        assert written == 'x = 1\ndef add(a, b):\n    return a + b\n    # "🙂"; é: 🙂\nz = 3\ny = 2\n'


@pytest.mark.usefixtures("inline")
def test_without_a_suggestion_a_key_does_what_it_did(tmp_path: Path, server: Infill) -> None:
    server.says = ""
    with neovim(tmp_path, server, "\n") as editor:
        for number, (mapping, typed) in enumerate(DID.items()):
            key = f"<F{number + 2}>"
            editor.lua(f"vim.keymap.set('i', '{key}', {mapping}); require('albor').map('{key}')")
            assert after(editor, key) == f"x{typed}"
        assert after(editor, "<Tab>") == "x   "


def after(editor: Neovim, key: str) -> str:
    """The line, once a key was typed after an x."""
    editor.type(f"<Esc>ccx{key}")
    until(lambda: editor.lines() != ["x"], f"what {key} does")
    (line,) = editor.lines()
    return line


def test_many_lines_from_the_menu(tmp_path: Path, server: Infill) -> None:
    server.says = 'turn {\n        "${a}": 1,\n    }\n\ndef g():'
    with neovim(tmp_path, server, "def f():\n    pass\n") as editor:
        editor.type("Gccre<C-x><C-o>")
        until(lambda: editor.lua("return vim.fn.pumvisible()") == 1, "the menu")
        assert editor.lua("return vim.fn.complete_info({'items'}).items[1].abbr") == "return { …"
        editor.type("<C-y>")
        until(lambda: len(editor.lines()) > 2, "the lines")
        assert editor.lines() == ["def f():", "    return {", '        "${a}": 1,', "    }"]


def test_an_old_neovim_opens_its_menu_by_itself(tmp_path: Path, server: Infill) -> None:
    server.says = "path"
    with neovim(tmp_path, server, "\n") as editor:
        if editor.lua("return vim.lsp.inline_completion ~= nil"):
            pytest.skip("this one shows suggestions behind the cursor")
        editor.type("ios.")
        until(lambda: editor.lua("return vim.fn.pumvisible()") == 1, "the menu")
        editor.type("<C-y>")
        until(lambda: len(editor.lines()[0]) > len("os."), "the item")
        assert editor.lines() == ["os.path"]


@pytest.mark.usefixtures("inline")
def test_keys_in_a_row_leave_only_the_last_suggestion(tmp_path: Path, server: Infill) -> None:
    with neovim(tmp_path, server, "\n") as editor:
        server.delay, server.says = 10.0, lambda body: f"<{body['input_prefix']}>"
        editor.type("iab")
        server.wait(1)
        server.delay = 0.0
        editor.type("cd")
        until(lambda: editor.shown() == ["<abcd>"], "a suggestion")
        assert server.asked[0].gone and all(asked.gone is None for asked in server.asked[1:])


@pytest.mark.usefixtures("inline")
def test_a_server_that_is_not_there_is_told_once(tmp_path: Path, server: Infill) -> None:
    with neovim(tmp_path, server, "\n", given="options = { url = 'http://127.0.0.1:1', maxToken = 3 }") as editor:
        messages = "return vim.fn.execute('messages')"
        for text in "abc":
            editor.type(f"<Esc>cc{text}")
            until(lambda: "cannot be reached" in editor.lua(messages), "the message")
        said = editor.lua(messages)
        assert said.count("cannot be reached") == 1 and "start it: albor stage=serve" in said
        assert said.count("did you mean maxTokens?") == 1
