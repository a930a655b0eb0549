// The page at `/`: wires what is to be tagged, what is looked for, the service and what it found.

import { byId, counted } from "./dom.js";
import { EXAMPLE } from "./example.js";
import { Panel } from "./panel.js";
import { Results } from "./results.js";
import { Problem, Service } from "./service.js";
import { Source } from "./source.js";
import { LOWEST } from "./spans.js";
import { Types } from "./types.js";

const DOCUMENTS_AT_ONCE = 64;
const CHARACTERS_AT_ONCE = 200_000;
const TELL_EVERY_MS = 1000;

const say = (message) => (byId("status").textContent = message);
const service = new Service({ askKey, onWait: (seconds) => say(`The service is busy; trying again in ${seconds} s …`) });
const panel = new Panel(byId("panel"), (id) => service.entity(id, results.model));
const results = new Results({ onOpen: (entity, button) => panel.open(entity, button), say });
const types = new Types(() => results.stale(true));
const source = new Source({ onLoad: loaded, onError: showProblem });
let models = [];
let running = null;

start();

async function start() {
  byId("ask").addEventListener("submit", submitted);
  byId("again").addEventListener("click", () => tag());
  byId("stop").addEventListener("click", () => running?.abort());
  byId("example").addEventListener("click", () => {
    source.write(EXAMPLE);
    tag();
  });
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) tag();
  });
  byId("model").addEventListener("change", changedModel);
  for (const id of ["nested", "multi-label", "link"]) {
    byId(id).addEventListener("change", () => results.stale(true));
  }
  await loadModels();
}

async function loadModels() {
  try {
    models = await service.models();
  } catch (error) {
    showProblem(error);
    return;
  }
  byId("model").replaceChildren(...models.map(({ name, default: chosen }) => new Option(name, name, chosen, chosen)));
  byId("model-row").hidden = models.length < 2;
  useModel();
}

/** The service knows the types of a model once it has been asked. */
async function refreshModel() {
  const model = models.find(({ name }) => name === byId("model").value);
  if (!model || Object.keys(model.types).length) return;
  models = await service.models();
  useModel();
}

function changedModel() {
  useModel();
  results.stale(true);
}

function useModel() {
  const model = models.find(({ name }) => name === byId("model").value);
  if (!model) return;
  types.use(model.types);
  const unlinked = Object.keys(model.types).length > 0 && !model.linked; // without types it is not in memory yet
  byId("link").disabled = unlinked;
  byId("link").checked = !unlinked;
  byId("link-row").title = unlinked ? "This model has no knowledge graph." : "";
}

function loaded(message) {
  showProblem(null);
  say(message);
}

function submitted(event) {
  event.preventDefault();
  tag();
}

async function tag() {
  running?.abort();
  const mine = new AbortController();
  showProblem(null);
  try {
    if (!models.length) await loadModels();
    const documents = wanted();
    running = mine;
    busy(documents.length);
    await ask(documents, mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error);
    if (running === mine) say(error.name === "AbortError" ? "Stopped." : "");
  }
  if (running === mine) idle();
}

function wanted() {
  const documents = source.documents();
  if (!documents.length) throw new Error("There is no text yet: paste one, open a file, or take the example.");
  if (types.empty) throw new Error("There is no type to look for: choose or add one.");
  return documents;
}

async function ask(documents, signal) {
  panel.close();
  const settings = asked();
  if (documents.length === 1) {
    const answer = await service.tag({ ...settings, texts: [documents[0].text] }, signal);
    results.begin(documents, answer.model);
    results.add(0, answer.results[0].entities);
  } else {
    results.begin(documents, settings.model);
    await askMany(documents, settings, signal);
  }
  await refreshModel();
  const n = results.found.flat().filter(({ score }) => score > results.threshold).length;
  say(`${counted(n, "mention")} in ${counted(documents.length, "document")}.`);
  if (documents.length === 1) byId("results-title").scrollIntoView({ block: "nearest" });
}

/** Requests of a bounded size, one after the other, so that a large file meets no limit of the service. */
async function askMany(documents, settings, signal) {
  let done = 0;
  let told = Date.now();
  for (const [first, texts] of portions(documents.map(({ text }) => text))) {
    for await (const { index, entities } of service.stream({ ...settings, texts }, signal)) {
      results.add(first + index, entities);
      done += 1;
      byId("progress").value = done;
      if (Date.now() - told < TELL_EVERY_MS) continue; // a screen reader would read each
      told = Date.now();
      say(`${done} of ${counted(documents.length, "document")} …`);
    }
  }
}

function* portions(texts) {
  let first = 0;
  let length = 0;
  for (let at = 0; at < texts.length; at += 1) {
    const full = at - first >= DOCUMENTS_AT_ONCE || length + texts[at].length > CHARACTERS_AT_ONCE;
    if (at > first && full) {
      yield [first, texts.slice(first, at)];
      [first, length] = [at, 0];
    }
    length += texts[at].length;
  }
  yield [first, texts.slice(first)];
}

function asked() {
  return {
    types: types.asked,
    threshold: LOWEST,
    nested: byId("nested").checked,
    multi_label: byId("multi-label").checked,
    link: byId("link").checked,
    model: byId("model").value || null,
  };
}

function busy(n) {
  say("Looking …");
  byId("progress").hidden = byId("stop").hidden = false;
  if (n > 1) Object.assign(byId("progress"), { max: n, value: 0 });
  else byId("progress").removeAttribute("value");
}

function idle() {
  running = null;
  byId("progress").hidden = byId("stop").hidden = true;
}

function showProblem(error) {
  const box = byId("problem");
  box.hidden = error === null;
  if (error === null) return;
  const parts = [error.message];
  if (error instanceof Problem && error.title && error.title !== error.message) parts.unshift(`${error.title}:`);
  const limit = error.limit && !error.message.includes(error.limit);
  if (limit) parts.push(`(${error.limit}: at most ${error.maximum})`);
  box.textContent = parts.join(" ");
}

/** Ask the reader for the API key; `again` when one was refused. Resolves to null when there is none to be had. */
function askKey(again) {
  const dialog = byId("key-dialog");
  byId("key").value = "";
  byId("key-title").textContent = again ? "That API key was refused" : "This service asks for an API key";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const closed = () => resolve(dialog.returnValue === "use" ? byId("key").value : null);
    dialog.addEventListener("close", closed, { once: true });
  });
}
