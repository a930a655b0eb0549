// The service's HTTP API. Paths are relative to the page, so that it may live under a prefix.

const KEY = "api-key";
const TRIES = 5;
const LONGEST_PAUSE_S = 30;

/** What the service answers instead of a result: an `application/problem+json`. */
export class Problem extends Error {
  constructor(status, { title = "", detail = "", limit, maximum, got, request_id: request } = {}) {
    super(detail || title || `The service answered with status ${status}.`);
    Object.assign(this, { status, title, limit, maximum, got, request });
  }
}

/** Asks the service; `askKey` is called on 401 and resolves to a key or null, `onWait(seconds)` before another try. */
export class Service {
  constructor({ askKey, onWait = () => {} }) {
    Object.assign(this, { askKey, onWait });
  }

  /** The models: `[{name, default, types, precision, linked}]`. */
  async models() {
    return (await (await this.#fetch("v1/models")).json()).models;
  }

  /** The KG entity with that id. */
  async entity(id, model) {
    const query = model ? `?model=${encodeURIComponent(model)}` : "";
    return (await this.#fetch(`v1/entities/${encodeURIComponent(id)}${query}`)).json();
  }

  /** `{model, results}` of one request. */
  async tag(body, signal) {
    return (await this.#post("v1/tag", body, signal)).json();
  }

  /** Yields `{index, entities}` as they come. */
  async *stream(body, signal) {
    const response = await this.#post("v1/tag/stream", body, signal);
    try {
      for await (const line of jsonLines(response.body)) {
        if (line.error) throw new Problem(line.error.status, line.error);
        if ("done" in line) return;
        yield line;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // what fetch raises where the connection breaks
    }
    throw new Problem(0, { detail: "The connection ended before all documents were tagged." });
  }

  #post(path, body, signal) {
    const headers = { "Content-Type": "application/json" };
    return this.#fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  async #fetch(path, options = {}, tries = TRIES) {
    const response = await this.#once(path, options);
    if (response.ok) return response;
    if (response.status === 401 && (await this.#newKey())) return this.#fetch(path, options, tries);
    if ([429, 503].includes(response.status) && tries > 1) {
      await this.#pause(Number(response.headers.get("Retry-After")) || 1, options.signal);
      return this.#fetch(path, options, tries - 1);
    }
    throw new Problem(response.status, await response.json().catch(() => ({ title: response.statusText })));
  }

  async #once(path, options) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    try {
      return await fetch(new URL(path, document.baseURI), { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, { detail: "The service cannot be reached." });
    }
  }

  async #newKey() {
    const key = await this.askKey(sessionStorage.getItem(KEY) !== null);
    if (key) sessionStorage.setItem(KEY, key);
    return key;
  }

  #pause(seconds, signal) {
    const waited = Math.min(seconds, LONGEST_PAUSE_S);
    this.onWait(waited);
    return new Promise((resolve, reject) => {
      setTimeout(resolve, 1000 * waited);
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }
}

async function* jsonLines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    yield* lines.filter((line) => line.trim()).map((line) => JSON.parse(line));
  }
  if (rest.trim()) yield JSON.parse(rest);
}
