// What is to be tagged: the text field, or a file that was dropped or chosen.

import { readDocuments, readFile } from "./documents.js";
import { byId, counted } from "./dom.js";

/** The source; `onLoad(message)` after a file was taken or removed, `onError(error)` when it could not be read. */
export class Source {
  constructor({ onLoad, onError }) {
    Object.assign(this, { onLoad, onError, loaded: null });
    byId("open").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", () => this.#take(byId("file").files[0]));
    byId("unload").addEventListener("click", () => this.#unload());
    this.#acceptDrops(document.body);
  }

  /** Documents `{id, text, titleEnd}`. Throws an Error when pasted text begins like a format and breaks it. */
  documents() {
    const text = byId("text").value;
    return this.loaded ?? (text.trim() ? readDocuments(text) : []);
  }

  /** Put a text into the field. */
  write(text) {
    this.#show(null);
    byId("text").value = text;
  }

  async #take(file) {
    if (!file) return;
    try {
      const documents = readDocuments(await readFile(file), file.name);
      if (!documents.length) throw new Error("expected a text, it is empty");
      this.#show(documents, file.name);
      this.onLoad(`${file.name}: ${counted(documents.length, "document")} to tag.`);
    } catch (error) {
      this.onError(new Error(`${file.name} cannot be read: ${error.message}`));
    } finally {
      byId("file").value = ""; // so that the same file can be chosen again
    }
  }

  #unload() {
    this.#show(null);
    byId("text").focus();
    this.onLoad("");
  }

  #show(documents, name = "") {
    this.loaded = documents;
    byId("text").hidden = documents !== null;
    byId("loaded").hidden = documents === null;
    if (documents) byId("loaded-name").textContent = `${name} · ${counted(documents.length, "document")}`;
  }

  #acceptDrops(area) {
    const mark = (over) => byId("drop").classList.toggle("over", over);
    area.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      mark(true);
    });
    area.addEventListener("dragleave", (event) => mark(event.relatedTarget !== null));
    area.addEventListener("drop", (event) => {
      mark(false);
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      this.#take(event.dataTransfer.files[0]);
    });
  }
}
