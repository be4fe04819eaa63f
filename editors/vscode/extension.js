// Completions behind the cursor in Python files, asked of a server that has a model.
'use strict';

const vscode = require('vscode');
const { complete } = require('./client');
const { window, fitting } = require('./text');

const PAUSE = 75; // milliseconds: of keys that come faster, only one that this time passes after is answered

function activate(context) {
  const status = new Status();
  const edited = new LastEdited();
  const keys = new Keys();
  const provider = new Provider(status, edited, keys);
  context.subscriptions.push(
    status,
    vscode.languages.registerInlineCompletionItemProvider({ language: 'python' }, provider),
    vscode.commands.registerCommand('albor.toggle', toggle),
    vscode.workspace.onDidChangeTextDocument(({ document }) => {
      edited.add(document);
      keys.pressed();
    }),
    vscode.workspace.onDidCloseTextDocument((document) => edited.remove(document)),
    vscode.workspace.onDidChangeConfiguration((event) => event.affectsConfiguration('albor') && status.show('')),
  );
}

function settings() {
  return vscode.workspace.getConfiguration('albor');
}

function toggle() {
  return settings().update('enabled', !settings().get('enabled'), vscode.ConfigurationTarget.Global);
}

class Provider {
  constructor(status, edited, keys) {
    this.status = status;
    this.edited = edited;
    this.keys = keys;
  }

  async provideInlineCompletionItems(document, position, context, token) {
    const config = settings();
    if (!config.get('enabled')) return [];
    const asked = Object.fromEntries(['url', 'model', 'apiKey', 'maxTokens'].map((name) => [name, config.get(name)]));
    const automatic = context.triggerKind === vscode.InlineCompletionTriggerKind.Automatic;
    const cursor = document.offsetAt(position);
    const text = document.getText();
    const [before, after] = [text.slice(0, cursor), text.slice(cursor)].map(inUnixLines);
    const abort = new AbortController();
    const cancelled = token.onCancellationRequested(() => abort.abort());
    try {
      await pause(automatic && this.keys.inHurry ? PAUSE : 0);
      if (token.isCancellationRequested) return [];
      const around = window(before, after, this.edited.others(document), config.get('contextCharacters'));
      const completion = fitting(await complete(asked, around, abort.signal), before, after);
      this.status.show('');
      if (!completion || token.isCancellationRequested) return [];
      return [new vscode.InlineCompletionItem(completion, new vscode.Range(position, position))];
    } catch (error) {
      if (!token.isCancellationRequested) this.status.show(error.message);
      return [];
    } finally {
      cancelled.dispose();
    }
  }
}

// The Python files that are open, by their last edit.
class LastEdited {
  constructor() {
    this.documents = new Set();
  }

  add(document) {
    this.remove(document);
    this.documents.add(document);
  }

  remove(document) {
    this.documents.delete(document);
  }

  // [name, text] of all but one, the most recently edited first.
  others(document) {
    const edited = [...this.documents].reverse();
    const rest = vscode.workspace.textDocuments.filter((other) => !this.documents.has(other));
    return [...edited, ...rest]
      .filter((other) => other !== document && other.languageId === 'python')
      .filter((other) => other.uri.scheme === document.uri.scheme) // a file's older versions have another
      .map((other) => [vscode.workspace.asRelativePath(other.uri), inUnixLines(other.getText())]);
  }
}

// Whether the last one came soon after the one before it.
class Keys {
  constructor() {
    this.last = -Infinity;
    this.inHurry = false;
  }

  pressed() {
    const now = performance.now();
    this.inHurry = now - this.last < PAUSE;
    this.last = now;
  }
}

// The item of the status bar: on, off, or what is wrong.
class Status {
  constructor() {
    this.item = vscode.window.createStatusBarItem('albor', vscode.StatusBarAlignment.Right, 100);
    this.item.name = 'albor';
    this.item.command = 'albor.toggle';
    this.show('');
    this.item.show();
  }

  show(failure) {
    const enabled = settings().get('enabled');
    const failing = enabled && failure;
    this.item.text = failing ? '$(warning) albor' : enabled ? '$(check) albor' : '$(circle-slash) albor';
    this.item.tooltip = failing ? `albor: ${failure}` : `albor: completions are ${enabled ? 'on' : 'off'}`;
    this.item.backgroundColor = failing ? new vscode.ThemeColor('statusBarItem.warningBackground') : undefined;
  }

  dispose() {
    this.item.dispose();
  }
}

function inUnixLines(text) {
  return text.replaceAll('\r\n', '\n');
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

module.exports = { activate };
