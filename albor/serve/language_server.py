"""``albor lsp``: completions by the language server protocol, asked of a server that has a model."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from albor.errors import AlborError
from albor.serve.documents import Documents, Place
from albor.serve.latest import Latest
from albor.serve.settings import Settings
from albor.serve.spot import Spot
from albor.serve.suggestion import MOST_LINES, Offer, as_snippet, fitting, label, word_before
from albor.serve.window import window

TRIGGERS = (".", "(", "[", "=", ",")
"""Characters after which an editor's menu may open by itself."""
INDENTS_LATER_LINES = ("Neovim",)
"""Editors whose menu inserts lines after the first only of a snippet, and indents them."""
ASKS_ONCE = ("helix",)
"""Editors that ask nothing more while a word is typed on and they wait, and fit a late answer to the word."""


class CompletionServer(LanguageServer):
    """What the handlers share."""

    def __init__(self, settings: Settings) -> None:
        """Raises AlborError when nobody can be asked with these settings."""
        super().__init__("albor", version("albor"), protocol_cls=Protocol)
        self.settings, self.completer = settings, settings.completer()
        self.documents = Documents(encoding="utf-16")
        self.latest = Latest()
        self.complaints: list[str] = []
        """To be said as soon as the editor listens."""
        self.menu_indents = False
        """Whether the editor's menu takes lines after the first only as a snippet's, and indents them."""
        self.asks_once = False
        """Whether the editor waits for its first answer while a word is typed on."""
        self._failing = False
        self._offer: Offer | None = None
        """The last one."""
        self._last_key, self._pause = float("-inf"), float("inf")
        """When the last key came, and seconds since the one before it."""

    def configure(self, params: types.InitializeParams) -> None:
        """Takes the editor's options and units, before anything is opened."""
        encoding = types.PositionEncodingKind(self.workspace.position_encoding).value
        self.documents = Documents(encoding=encoding, root=params.root_uri)
        client = params.client_info.name if params.client_info else ""
        self.menu_indents, self.asks_once = client in INDENTS_LATER_LINES, client in ASKS_ONCE
        changed, self.complaints = self.settings.changed_by(params.initialization_options)
        try:
            self.completer, self.settings = changed.completer(), changed
        except AlborError as error:
            self.complaints.append(sentence(error))

    def spot(self, params: types.CompletionParams | types.InlineCompletionParams) -> Spot | None:
        """None when the document is not open."""
        uri = params.text_document.uri
        if (document := self.documents.get(uri)) is None:
            return None
        return Spot(uri, document, document.offset(place(params.position)))

    def key_pressed(self) -> None:
        now = time.monotonic()
        self._pause, self._last_key = now - self._last_key, now

    async def suggestion(self, spot: Spot, *, wait: bool) -> str:
        """What fits at a spot, "" when there is nothing. With ``wait``, and where keys come in a hurry, it waits first
        for those that may yet come."""
        before, after, multiline = spot.before, spot.after, self.settings.multiline
        if self._offer and (rest := self._offer.rest(spot.uri, before, after)):
            return rest  # nobody need be asked who typed what was suggested
        debounce = self.settings.debounce_ms / 1000
        await asyncio.sleep(debounce if wait and self._pause < debounce else 0)
        around = window(before, after, self.documents.others(spot.uri), budget=self.settings.context_characters)
        try:
            text = await self.completer.complete(
                around.prefix,
                around.suffix,
                extra=around.extra,
                max_tokens=self.settings.max_tokens,
                stop=() if multiline else ("\n",),
            )
        except AlborError as error:
            self.fail(error)
            return ""
        self._failing = False
        found = fitting(text, before, after, most_lines=MOST_LINES if multiline else 1)
        self._offer = Offer(spot.uri, before, after, found)
        return found

    def fail(self, error: AlborError) -> None:
        """Says what is wrong, once until it works again: the next key would say the same."""
        if not self._failing:
            self._failing = True
            self.say(sentence(error), types.MessageType.Error)

    def say(self, text: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        self.window_show_message(types.ShowMessageParams(type=kind, message=f"albor: {text}"))


class Protocol(LanguageServerProtocol):
    """pygls's protocol with documents of our own: in pygls's a form feed ends a line, as it does for Python only."""

    _server: CompletionServer

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        self._server.documents.open(document.uri, document.text, document.language_id)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        uri, documents = params.text_document.uri, self._server.documents
        for change in params.content_changes:
            if isinstance(change, types.TextDocumentContentChangePartial):
                documents.edit(uri, place(change.range.start), place(change.range.end), change.text)
            else:
                documents.rewrite(uri, change.text)
        self._server.latest.edited(uri)
        self._server.key_pressed()

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        self._server.documents.close(params.text_document.uri)
        self._server.latest.edited(params.text_document.uri)


def language_server(settings: Settings) -> CompletionServer:
    """A server that ``start_io`` starts. Raises AlborError when nobody can be asked with these settings."""
    server = CompletionServer(settings)
    server.feature(types.INITIALIZE)(initialize)
    server.feature(types.INITIALIZED)(initialized)
    server.feature(types.SHUTDOWN)(shutdown)
    server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)(configured_already)
    menu_options = types.CompletionOptions(trigger_characters=TRIGGERS)
    server.feature(types.TEXT_DOCUMENT_COMPLETION, menu_options)(menu)
    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(inline)
    return server


def initialize(ls: CompletionServer, params: types.InitializeParams) -> None:
    ls.configure(params)


def initialized(ls: CompletionServer, params: types.InitializedParams) -> None:
    for complaint in ls.complaints:
        ls.say(complaint)


def configured_already(ls: CompletionServer, params: types.DidChangeConfigurationParams) -> None:
    """Helix says here again what it said when it greeted."""


async def shutdown(ls: CompletionServer, params: None) -> None:
    await ls.completer.close()


async def menu(ls: CompletionServer, params: types.CompletionParams) -> types.CompletionList:
    """One item, or none; not complete, so that the editor asks again as more is typed."""
    nothing = types.CompletionList(is_incomplete=True, items=[])
    if (spot := ls.spot(params)) is None:
        return nothing
    wait = params.context is not None and params.context.trigger_kind != types.CompletionTriggerKind.Invoked
    text = await menu_text(ls, spot, wait=wait)
    item = menu_item(spot, text, as_lines_of_a_snippet=ls.menu_indents) if text else None
    return types.CompletionList(is_incomplete=True, items=[item]) if item else nothing


async def menu_text(ls: CompletionServer, spot: Spot, *, wait: bool) -> str | None:
    """What may follow at a spot. For an editor that asks once, what was typed meanwhile and what may follow that."""
    key, now = (spot.uri, "menu"), spot
    text = await ls.latest.ask(key, ls.suggestion(spot, wait=wait))
    while text is None and ls.asks_once and not ls.latest.asking(key):
        if (later := spot.typed_on(ls.documents.get(spot.uri))) is None:
            return None
        now = later
        text = await ls.latest.ask(key, ls.suggestion(now, wait=True))
    return now.document.text[spot.cursor : now.cursor] + text if text else text


def menu_item(spot: Spot, text: str, *, as_lines_of_a_snippet: bool) -> types.CompletionItem | None:
    """An item that replaces the typed part of a word by the whole, which is what editors compare with what is typed."""
    before = spot.before
    word = word_before(before)
    told = as_snippet(word + text, before) if as_lines_of_a_snippet else word + text
    if told == word:
        return None
    kind = types.InsertTextFormat.Snippet if as_lines_of_a_snippet else types.InsertTextFormat.PlainText
    covered = types.Range(position(spot, spot.cursor - len(word)), position(spot, spot.cursor))
    return types.CompletionItem(
        label=label(word + text),
        kind=types.CompletionItemKind.Text,
        documentation=types.MarkupContent(types.MarkupKind.Markdown, f"````python\n{word}{text}\n````"),
        sort_text="!",
        insert_text_format=kind,
        text_edit=types.TextEdit(covered, told),
    )


async def inline(ls: CompletionServer, params: types.InlineCompletionParams) -> types.InlineCompletionList | None:
    """One suggestion, inserted at the cursor as it is, or none."""
    if (spot := ls.spot(params)) is None:
        return None
    wait = params.context.trigger_kind != types.InlineCompletionTriggerKind.Invoked
    text = await ls.latest.ask((spot.uri, "inline"), ls.suggestion(spot, wait=wait))
    if not text:
        return None
    cursor = position(spot, spot.cursor)
    item = types.InlineCompletionItem(insert_text=text, range=types.Range(cursor, cursor))
    return types.InlineCompletionList(items=[item])


def place(at: types.Position) -> Place:
    return at.line, at.character


def position(spot: Spot, offset: int) -> types.Position:
    return types.Position(*spot.document.place(offset))


def sentence(error: AlborError) -> str:
    return f"{error.cause}: {error.help}" if error.help else error.cause
