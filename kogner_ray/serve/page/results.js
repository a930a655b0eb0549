// What was found: the threshold, the legend, one document at a time. Asks nothing of the service.

import { tint } from "./colours.js";
import { asJson, asPubtator, copyText } from "./copy.js";
import { byId, counted, element, svg } from "./dom.js";
import { showMarked } from "./marked.js";
import { above, counts } from "./spans.js";

/** The results; `onOpen(entity, button)` when an entity is chosen, `say(message)` for the status line. */
export class Results {
  constructor({ onOpen, say }) {
    Object.assign(this, { onOpen, say, documents: [], found: [], at: 0, model: null, hidden: new Set() });
    byId("threshold").addEventListener("input", () => this.show());
    byId("threshold").addEventListener("change", () => say(this.#summary()));
    byId("previous").addEventListener("click", () => this.turn(this.at - 1));
    byId("next").addEventListener("click", () => this.turn(this.at + 1));
    byId("page").addEventListener("change", ({ target }) => this.turn(target.valueAsNumber - 1));
    byId("copy-json").addEventListener("click", () => this.#copy("JSON", asJson));
    byId("copy-pubtator").addEventListener("click", () => this.#copy("PubTator", asPubtator));
  }

  /** Begin with other documents, none of them tagged yet. */
  begin(documents, model) {
    Object.assign(this, { documents, model, found: documents.map(() => null), at: 0 });
    const several = documents.length > 1;
    byId("pager").hidden = byId("scope-row").hidden = !several;
    byId("scope").value = several ? "all" : "one";
    byId("scope").lastElementChild.textContent = `all ${documents.length}`;
    byId("page").max = documents.length;
    byId("pages").textContent = `of ${documents.length.toLocaleString("en")}`;
    byId("results").hidden = false;
    this.stale(false);
    this.turn(0);
  }

  /** Take the entities of a document, found above the lowest threshold. */
  add(index, entities) {
    this.found[index] = entities;
    if (index === this.at) this.show();
  }

  /** Say whether the settings are no longer those that it was asked with. */
  stale(is) {
    byId("stale").hidden = !is || byId("results").hidden;
  }

  /** Show the document with that index. */
  turn(index) {
    this.at = Math.min(Math.max(index || 0, 0), this.documents.length - 1);
    byId("page").value = this.at + 1;
    byId("previous").disabled = this.at === 0;
    byId("next").disabled = this.at === this.documents.length - 1;
    byId("document-id").hidden = this.documents.length === 1;
    byId("document-id").textContent = this.documents[this.at].id;
    this.show();
  }

  /** Show the document again, as threshold and legend now are. */
  show() {
    const all = this.found[this.at];
    byId("threshold-value").textContent = this.threshold.toFixed(2);
    byId("threshold").setAttribute("aria-valuetext", `${this.threshold.toFixed(2)}`);
    showRug(all ?? [], this.threshold);
    this.#showLegend(all ?? []);
    byId("marked").setAttribute("aria-busy", all === null);
    showMarked(byId("marked"), this.documents[this.at].text, this.#shown(this.at), this.onOpen);
  }

  get threshold() {
    return byId("threshold").valueAsNumber;
  }

  #shown(index) {
    return above(this.found[index] ?? [], this.threshold, this.hidden);
  }

  #summary() {
    return `${counted(this.#shown(this.at).length, "mention")} above ${this.threshold.toFixed(2)}.`;
  }

  #showLegend(all) {
    const numbers = counts(above(all, this.threshold));
    const types = [...counts(all).keys()].sort();
    const focused = document.activeElement?.dataset?.legend;
    byId("legend").replaceChildren(...types.map((type) => this.#legendItem(type, numbers.get(type) ?? 0)));
    const again = [...byId("legend").querySelectorAll("button")].find(({ dataset }) => dataset.legend === focused);
    again?.focus();
  }

  #legendItem(type, n) {
    const toggle = () => {
      if (!this.hidden.delete(type)) this.hidden.add(type);
      this.show();
      this.say(this.#summary());
    };
    const pressed = String(!this.hidden.has(type));
    return element("li", {}, element(
      "button",
      { type: "button", class: `choice ${tint(type)}`, "aria-pressed": pressed, "data-legend": type, onclick: toggle },
      type,
      element("span", { class: "count" }, n),
    ));
  }

  async #copy(name, write) {
    const wanted = byId("scope").value === "all" ? [...this.documents.keys()] : [this.at];
    const tagged = wanted
      .filter((index) => this.found[index] !== null)
      .map((index) => ({ document: this.documents[index], entities: this.#shown(index) }));
    try {
      await copyText(write(tagged, { model: this.model, threshold: this.threshold }));
      this.say(`Copied ${counted(tagged.length, "document")} as ${name}.`);
    } catch (error) {
      this.say(`Not copied: ${error.message}`);
    }
  }
}

/** A tick for each score above the slider. */
function showRug(entities, threshold) {
  byId("rug").replaceChildren(...entities.map(({ score, type }) =>
    svg("rect", { x: score - 0.002, width: 0.004, height: 1, class: score > threshold ? tint(type) : "below" })));
}
