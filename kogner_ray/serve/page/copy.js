// What is shown, as JSON and as PubTator, and the clipboard.

import { writePubtator } from "./pubtator.js";

/** `tagged`: `[{document, entities}]`. Offsets count code points. */
export function asJson(tagged, { model, threshold }) {
  const documents = tagged.map(({ document: { id, text }, entities }) => ({ id, text, entities }));
  return JSON.stringify({ model, threshold, documents }, null, 2);
}

/** The same as PubTator, a document after the other. */
export function asPubtator(tagged) {
  return tagged.map(({ document, entities }) => writePubtator(document, entities)).join("");
}

/** Put `text` into the clipboard. Throws an Error where the browser forbids it. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // over plain http from another host there is no navigator.clipboard
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser does not let this page copy");
}
