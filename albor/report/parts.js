// The lineage's facts and the copy buttons.

async function copy(button) {
  const text = $(button.dataset.copy).textContent;
  let done = false;
  try { await navigator.clipboard.writeText(text); done = true; } catch {
    // No clipboard (an old browser, or a page opened from a file): select the text, so that one keystroke copies it.
    getSelection().selectAllChildren($(button.dataset.copy));
    done = document.execCommand('copy');
  }
  button.textContent = done ? 'Copied' : 'Selected';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

function lineage() {
  const boxes = [...document.querySelectorAll('.box')];
  const show = (box) => {
    for (const other of boxes) {
      other.classList.toggle('shown', other === box);
      document.getElementById(other.dataset.facts).hidden = other !== box;
    }
  };
  for (const box of boxes) for (const kind of ['pointerenter', 'focus', 'click']) box.addEventListener(kind, () => show(box));
  const first = boxes.find((box) => box.classList.contains('current')) ?? boxes.at(-1);
  if (first) show(first);
}

lineage();
for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => copy(button));
