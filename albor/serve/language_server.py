"""``albor lsp``: completions by the language server protocol, asked of a server that has a model."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import NamedTuple

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from albor.errors import AlborError
from albor.serve.documents import Document, Documents, Place
from albor.serve.latest import Latest
from albor.serve.settings import Settings
from albor.serve.suggestion import MOST_LINES, as_snippet, fitting, label, word_before
from albor.serve.window import window

TRIGGERS = (".", "(", "[", "=", ",")
"""Characters after which an editor's menu may open by itself."""
INDENTS_LATER_LINES = ("Neovim",)
"""Editors whose menu inserts lines after the first only of a snippet, and indents them."""


class Spot(NamedTuple):
    """A document at the moment that something is asked about it, and where the cursor is."""

    uri: str
    document: Document
    cursor: int
    """Characters before it."""
    before: str
    after: str
    """What is before and after it, in lines that end in ``\\n``."""


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
        self._failing = False

    def configure(self, params: types.InitializeParams) -> None:
        """Takes the editor's options and units, before anything is opened."""
        encoding = types.PositionEncodingKind(self.workspace.position_encoding).value
        self.documents = Documents(encoding=encoding, root=params.root_uri)
        self.menu_indents = params.client_info is not None and params.client_info.name in INDENTS_LATER_LINES
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
        cursor = document.offset(place(params.position))
        before, after = (part.replace("\r\n", "\n") for part in (document.text[:cursor], document.text[cursor:]))
        return Spot(uri, document, cursor, before, after)

    async def suggestion(self, spot: Spot, *, wait: bool) -> str:
        """What fits at a spot, "" when there is nothing. With ``wait`` it waits first, for keys that may yet come."""
        await asyncio.sleep(self.settings.debounce_ms / 1000 if wait else 0)
        around = window(
            spot.before, spot.after, self.documents.others(spot.uri), budget=self.settings.context_characters
        )
        multiline = self.settings.multiline
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
        return fitting(text, spot.before, spot.after, most_lines=MOST_LINES if multiline else 1)

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
        self._server.documents.open(document.uri, document.text, str(document.language_id))

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        uri, documents = params.text_document.uri, self._server.documents
        for change in params.content_changes:
            if isinstance(change, types.TextDocumentContentChangePartial):
                documents.edit(uri, place(change.range.start), place(change.range.end), change.text)
            else:
                documents.rewrite(uri, change.text)
        self._server.latest.edited(uri)

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
    menu_options = types.CompletionOptions(trigger_characters=TRIGGERS)
    server.feature(types.TEXT_DOCUMENT_COMPLETION, menu_options)(menu)
    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(inline)
    return server


def initialize(ls: CompletionServer, params: types.InitializeParams) -> None:
    ls.configure(params)


def initialized(ls: CompletionServer, params: types.InitializedParams) -> None:
    for complaint in ls.complaints:
        ls.say(complaint)


async def shutdown(ls: CompletionServer, params: None) -> None:
    await ls.completer.close()


async def menu(ls: CompletionServer, params: types.CompletionParams) -> types.CompletionList:
    """One item, or none; not complete, so that the editor asks again as more is typed."""
    nothing = types.CompletionList(is_incomplete=True, items=[])
    if (spot := ls.spot(params)) is None:
        return nothing
    wait = params.context is not None and params.context.trigger_kind != types.CompletionTriggerKind.Invoked
    text = await ls.latest.ask((spot.uri, "menu"), ls.suggestion(spot, wait=wait))
    item = menu_item(spot, text, as_lines_of_a_snippet=ls.menu_indents) if text else None
    return types.CompletionList(is_incomplete=True, items=[item]) if item else nothing


def menu_item(spot: Spot, text: str, *, as_lines_of_a_snippet: bool) -> types.CompletionItem | None:
    """An item that replaces the typed part of a word by the whole, which is what editors compare with what is typed."""
    word = word_before(spot.before)
    told = as_snippet(word + text, spot.before) if as_lines_of_a_snippet else word + text
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
