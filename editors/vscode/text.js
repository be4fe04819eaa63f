// What the model is shown around the cursor, and what of its answer is worth showing: the same as albor/serve/window.py
// and albor/serve/suggestion.py, which say why. A test compares them.
'use strict';

const JUMPS = 4;
const MOST_LINES = 20;

// { prefix, suffix, extra } in `budget` characters; `others` are [name, text] of other files.
function window(before, after, others, budget) {
  return {
    prefix: lastLines(before, Math.floor(budget / 2)),
    suffix: firstLines(after, Math.floor(budget / 4)),
    extra: beginnings(others, Math.floor(budget / 4)),
  };
}

function lastLines(text, most) {
  if (text.length <= most) return text;
  const jump = Math.max(Math.floor(most / JUMPS), 1);
  const start = Math.ceil((text.length - most) / jump) * jump;
  const line = text.slice(start - 1, start - 1 + jump).indexOf('\n');
  return text.slice(line < 0 ? start : start + line);
}

function firstLines(text, most) {
  if (text.length <= most) return text;
  return text.slice(0, text.slice(0, most).lastIndexOf('\n') + 1 || most);
}

function beginnings(files, most) {
  const shown = [];
  for (const [name, text] of files) {
    const beginning = firstLines(text, Math.max(most - name.length, 0));
    if (beginning.trim()) {
      most -= name.length + beginning.length;
      shown.push([name, beginning]);
    }
  }
  return shown;
}

// What is worth showing of a completion between two texts; '' when nothing is.
function fitting(completion, before, after) {
  let text = completion.replaceAll('\r\n', '\n').split('\n').slice(0, MOST_LINES).join('\n');
  text = withoutOverlap(text, after);
  if (!after.split('\n', 1)[0].trim()) text = text.trimEnd();
  return !text.trim() || repeats(text, before, after) ? '' : text;
}

function withoutOverlap(text, after) {
  for (let length = Math.min(text.length, after.length); length > 0; length--) {
    const rest = text.slice(0, text.length - length);
    if (text.endsWith(after.slice(0, length)) && unclosed(rest) <= unclosed(text)) return rest;
  }
  return text;
}

function unclosed(text) {
  let depth = 0;
  for (const character of text) {
    if ('([{'.includes(character)) depth++;
    else if (')]}'.includes(character) && depth) depth--;
  }
  return depth;
}

function repeats(text, before, after) {
  const begun = text.startsWith('\n') ? '' : before.slice(before.lastIndexOf('\n') + 1);
  const [said, follows] = [begun + text, after].map((part) => part.split('\n').map((line) => line.trim()).filter(Boolean));
  return said.every((line, number) => line === follows[number]);
}

module.exports = { window, fitting };
