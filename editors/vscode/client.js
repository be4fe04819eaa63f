// Asks a server for a completion, in the shape of llama.cpp's /infill.
'use strict';

const TIMEOUT = 20000; // milliseconds

// The text between a window's prefix and its suffix. Rejects with an Error that says what is wrong; aborting the signal
// hangs up, so that the server can stop at once.
async function complete({ url, model, apiKey, maxTokens }, { prefix, suffix, extra }, signal) {
  const address = `${url.replace(/\/+$/, '')}/infill`;
  const body = {
    input_prefix: prefix.toWellFormed(),
    input_suffix: suffix.toWellFormed(),
    prompt: '',
    input_extra: extra.map(([filename, text]) => ({ filename, text: text.toWellFormed() })),
    n_predict: maxTokens,
    stop: [],
    temperature: 0,
    cache_prompt: true,
    stream: false,
  };
  if (model) body.model = model;
  const headers = { 'Content-Type': 'application/json' };
  if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
  let status, said;
  try {
    const response = await fetch(address, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]),
    });
    [status, said] = [response.status, await response.text()];
  } catch (error) {
    throw new Error(`${address} cannot be reached (${error.cause?.code || error.message})`);
  }
  const answer = parsed(said);
  if (status === 200 && typeof answer?.content === 'string') return answer.content;
  throw new Error(`${address} answers ${status}: ${answer?.error?.message ?? said.slice(0, 200)}`);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

module.exports = { complete };
