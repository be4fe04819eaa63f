// Ghost text in a textarea: what is seen is a mirror behind it, which alone knows of the suggestion.

const code = $('#code'), mirror = $('#mirror'), frame = $('#frame'), status = $('#status'), cards = $('#cards');
const DEBOUNCE = 120;
const SHOWN = 5;
const PYTHON = /(#[^\n]*)|("""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)|\b(False|None|True|and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|match|nonlocal|not|or|pass|raise|return|try|while|with|yield)\b|\b(\d[\w.]*)\b|\b((?<=def )\w+|(?<=class )\w+)/g;
const KINDS = ['comment', 'string', 'keyword', 'number', 'name'];
let ghost = null;
let timer = 0;
let asking = [];

// --- what is seen ---

function highlighted(text) {
  const made = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(PYTHON)) {
    made.append(text.slice(end, match.index));
    const span = document.createElement('span');
    span.className = `py-${KINDS[match.slice(1).findIndex((part) => part !== undefined)]}`;
    span.textContent = match[0];
    made.append(span);
    end = match.index + match[0].length;
  }
  made.append(text.slice(end));
  return made;
}

function draw() {
  const at = ghost ? ghost.at : code.value.length;
  mirror.replaceChildren(highlighted(code.value.slice(0, at)));
  if (ghost) {
    const span = document.createElement('span');
    span.className = 'ghost';
    span.textContent = ghost.text;
    mirror.append(span, highlighted(code.value.slice(at)));
  }
  mirror.append('\n');
  code.style.width = `${mirror.scrollWidth}px`;
  code.style.height = `${Math.max(mirror.scrollHeight, frame.clientHeight)}px`;
}

function suggest(text, at) {
  ghost = text ? { text, at } : null;
  draw();
}

// --- what is asked ---

const headers = () => ({ 'content-type': 'application/json', ...($('#key').value && { authorization: `Bearer ${$('#key').value}` }) });

async function refuse(answer) {
  if (answer.ok) return answer;
  if (answer.status === 401) $('#keyed').hidden = false;
  const said = await answer.json().catch(() => null);
  throw new Error(said?.error?.message ?? `the server answers ${answer.status}`);
}

/** The events of a streamed answer. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n\n');
    rest = lines.pop();
    for (const line of lines) {
      if (line === 'data: [DONE]') return;
      const event = JSON.parse(line.slice('data: '.length));
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

async function ask(model, card, shown) {
  const control = new AbortController();
  asking.push(control);
  const at = code.selectionStart, began = performance.now();
  const body = {
    model, prompt: code.value.slice(0, at), max_tokens: Number($('#tokens').value) || 32,
    temperature: Number($('#temperature').value), logprobs: SHOWN, stream: true,
  };
  if (code.value.slice(at).trim()) body.suffix = code.value.slice(at);
  const found = { text: '', tokens: [], first: null, last: began };
  card.begin();
  try {
    const answer = await refuse(await fetch('/v1/completions', { method: 'POST', headers: headers(), body: JSON.stringify(body), signal: control.signal }));
    for await (const event of events(answer)) {
      const choice = event.choices[0];
      found.last = performance.now();
      found.first ??= found.last;
      found.text += choice.text;
      const said = choice.logprobs;
      said.tokens.forEach((token, i) => found.tokens.push({ token, at: said.text_offset[i], logprob: said.token_logprobs[i], likeliest: said.top_logprobs[i] }));
      card.show(found, began, choice.finish_reason);
      if (shown) suggest(found.text, at);
    }
  } catch (error) {
    if (error.name === 'AbortError') return;
    card.fail(error.message);
    if (shown) { suggest('', at); status.textContent = error.message; }
  }
}

function drop() {
  clearTimeout(timer);
  for (const control of asking) control.abort();
  asking = [];
  if (ghost) suggest('');
}

function askAll() {
  drop();
  if (code.selectionStart !== code.selectionEnd) return;
  const names = [$('#model').value, $('#other').value].filter(Boolean);
  cards.replaceChildren();
  status.textContent = '';
  names.forEach((name, i) => ask(name, new Card(name), i === 0));
}

function soon() {
  drop();
  draw();
  if ($('#auto').checked) timer = setTimeout(askAll, DEBOUNCE);
}

function insert(text) {
  drop();
  code.focus();
  // Unlike setRangeText, this can be undone.
  if (!document.execCommand('insertText', false, text)) code.setRangeText(text, code.selectionStart, code.selectionEnd, 'end');
  soon();
}

// --- suggestions side by side ---

const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

class Card {
  constructor(name) {
    this.node = document.createElement('article');
    this.node.className = 'card';
    this.node.dataset.model = name;
    this.node.innerHTML = '<header><h3></h3><button type="button" disabled>Accept</button></header><dl></dl><pre></pre>';
    this.node.querySelector('h3').textContent = name;
    this.accept = this.node.querySelector('button');
    this.accept.addEventListener('click', () => insert(this.text));
    cards.append(this.node);
  }

  begin() { this.node.querySelector('pre').textContent = '…'; }

  fail(message) {
    const pre = this.node.querySelector('pre');
    pre.className = 'problem';
    pre.textContent = message;
  }

  show(found, began, reason) {
    this.text = found.text;
    this.accept.disabled = !found.text;
    const pre = this.node.querySelector('pre');
    const letters = [...found.text];  // offsets count code points
    pre.replaceChildren(...found.tokens.map((one, i) => this.token(one, letters.slice(one.at, found.tokens[i + 1]?.at).join(''))));
    const further = found.tokens.length - 1;
    this.figures([
      ['first token', ms(found.first - began)],
      ['further ones', further > 0 && found.last > found.first ? `${ms((found.last - found.first) / further)} each` : '–'],
      ['all', `${found.tokens.length} in ${ms(found.last - began)}`],
      ...(reason ? [['ended by', reason]] : []),
    ]);
  }

  figures(pairs) {
    const list = this.node.querySelector('dl');
    list.replaceChildren(...pairs.map(([name, value]) => {
      const pair = document.createElement('div');
      pair.append(Object.assign(document.createElement('dt'), { textContent: name }), Object.assign(document.createElement('dd'), { textContent: value }));
      return pair;
    }));
  }

  token(one, text) {
    const span = document.createElement('span');
    span.className = 'token';
    span.tabIndex = 0;
    span.style.setProperty('--sure', Math.exp(one.logprob).toFixed(3));
    span.textContent = text;
    if (one.token.startsWith('bytes:')) span.dataset.bytes = one.token.slice('bytes:'.length);
    span.setAttribute('aria-label', `${JSON.stringify(one.token)}, ${percent(one.logprob)}`);
    for (const enter of ['mouseenter', 'focus']) span.addEventListener(enter, () => tip(span, one));
    for (const leave of ['mouseleave', 'blur']) span.addEventListener(leave, () => $('#tip')?.remove());
    return span;
  }
}

const percent = (logprob) => {
  const share = 100 * Math.exp(logprob);
  return share < 0.05 ? '< 0.1%' : `${share.toFixed(1)}%`;
};

function tip(span, one) {
  $('#tip')?.remove();
  const box = Object.assign(document.createElement('div'), { id: 'tip', role: 'tooltip' });
  const table = document.createElement('table');
  const others = Object.entries(one.likeliest).filter(([token]) => token !== one.token);
  for (const [token, logprob] of [...others, [one.token, one.logprob]].sort((a, b) => b[1] - a[1])) {
    const row = table.insertRow();
    row.className = token === one.token ? 'taken' : '';
    row.insertCell().textContent = JSON.stringify(token).slice(1, -1);
    row.insertCell().textContent = percent(logprob);
  }
  box.append(table);
  document.body.append(box);
  const place = span.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(place.left, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${place.bottom + 6 + box.offsetHeight > innerHeight ? place.top - box.offsetHeight - 6 : place.bottom + 6}px`;
}

// --- hands on keys ---

code.addEventListener('keydown', (event) => {
  if (event.key === 'Tab' && !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey) {
    if (!ghost && !code.value) return;  // a way out for those who walk by Tab
    event.preventDefault();
    insert(ghost ? ghost.text : '    ');
  } else if (event.key === 'Escape') {
    drop();
  } else if (event.key === ' ' && event.ctrlKey) {
    event.preventDefault();
    askAll();
  } else if (event.key === 'Enter' && !event.isComposing) {
    event.preventDefault();
    const line = code.value.slice(code.value.lastIndexOf('\n', code.selectionStart - 1) + 1, code.selectionStart);
    insert(`\n${line.match(/^\s*/)[0]}${/:\s*$/.test(line) ? '    ' : ''}`);
  }
});
code.addEventListener('input', soon);
document.addEventListener('selectionchange', () => {
  if (document.activeElement === code && ghost && (code.selectionStart !== ghost.at || code.selectionEnd !== ghost.at)) drop();
});
$('.knobs').addEventListener('submit', (event) => event.preventDefault());
for (const name of ['#model', '#other', '#temperature', '#tokens']) $(name).addEventListener('change', askAll);
$('#temperature').addEventListener('input', (event) => { $('#heat').textContent = event.target.value; });
$('#key').addEventListener('change', start);

async function start() {
  try {
    const { data } = await (await refuse(await fetch('/v1/models', { headers: headers() }))).json();
    const option = ({ id }) => Object.assign(document.createElement('option'), { value: id, textContent: id });
    $('#model').replaceChildren(...data.map(option));
    $('#other').replaceChildren(Object.assign(document.createElement('option'), { value: '', textContent: 'none' }), ...data.map(option));
    if (data.length > 1) $('#other').value = data[1].id;
    status.textContent = '';
    code.focus();
    code.setSelectionRange(code.value.length, code.value.length);
    askAll();
  } catch (error) {
    status.textContent = error.message;
  }
}

draw();
start();
