// The server: what it tags with, what it takes, and the tags of one sound.

const N_TRIES = 5;

export class Refused extends Error {
  constructor(message, kind = "") {
    super(message);
    this.kind = kind;
  }
}

const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function ask(address, options, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    return await fetch(address, { ...options, headers });
  } catch {
    throw new Refused("The server cannot be reached. Is it still running?");
  }
}

export async function models(token) {
  const response = await ask("v1/models", {}, token);
  if (response.ok) return response.json();
  throw await problemOf(response);
}

// Tags and scores over time. A busy server is asked again when it says so, a few times.
export async function tag(content, query, token) {
  for (let i = 1; ; i += 1) {
    const response = await ask(`v1/tag?${new URLSearchParams(query)}`, { method: "POST", body: content }, token);
    if (response.ok) return response.json();
    if (response.status !== 503 || i === N_TRIES) throw await problemOf(response);
    await wait(Number(response.headers.get("Retry-After") || 1));
  }
}

const WORDS = {
  unauthorized: () => "This server wants a token: fill in the field at the top.",
  busy: () => "The server has too much to do just now. Try again in a minute.",
  timeout: () => "This took the server too long. Try a shorter sound.",
  "too-slow": () => "The connection was too slow to send this sound.",
};

async function problemOf(response) {
  let said = {};
  try {
    said = await response.json();
  } catch {
    // a proxy between may say things in its own way
  }
  const kind = (said.type || "").replace("urn:earmark:", "");
  const detail = (said.detail || `the server answered ${response.status}`).replace(/^the recording: /, "");
  return new Refused(WORDS[kind] ? WORDS[kind](detail) : detail[0].toUpperCase() + detail.slice(1), kind);
}
