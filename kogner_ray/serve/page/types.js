// Which types to look for: the model's own, to be switched off, and others that the reader adds.

import { reserve, tint } from "./colours.js";
import { byId, element } from "./dom.js";

/** The chooser; `onChange()` after each change. */
export class Types {
  constructor(onChange) {
    Object.assign(this, { onChange, own: {}, off: new Set(), added: new Map() });
    byId("type-add").addEventListener("click", () => this.#add());
    for (const id of ["type-name", "type-description"]) {
      byId(id).addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
        event.preventDefault(); // Enter here adds a type, it does not send the form
        this.#add();
      });
    }
  }

  /** Take the types of another model: name -> label text. */
  use(own) {
    Object.assign(this, { own, off: new Set() });
    reserve(Object.keys(own));
    this.#show();
  }

  /** Whether there is none to look for. */
  get empty() {
    const own = Object.keys(this.own);
    return !this.added.size && own.length > 0 && own.every((name) => this.off.has(name));
  }

  /** As the service takes them: null is the model's own, else name -> label text. */
  get asked() {
    if (!this.added.size && !this.off.size) return null;
    const own = Object.entries(this.own).filter(([name]) => !this.off.has(name));
    return Object.fromEntries([...own, ...this.added]);
  }

  #show() {
    const own = Object.entries(this.own).map(([name, text]) => this.#ownType(name, text));
    const added = [...this.added].map(([name, text]) => this.#addedType(name, text));
    byId("types").replaceChildren(...own, ...added);
    if (!own.length && !added.length) byId("types").append(element("li", { class: "hint" }, "The model’s own types"));
  }

  #ownType(name, text) {
    const toggle = ({ target }) => {
      if (target.checked) this.off.delete(name);
      else this.off.add(name);
      this.onChange();
    };
    const box = element("input", { type: "checkbox", checked: !this.off.has(name), onchange: toggle });
    const title = text === name ? null : text;
    return element("li", {}, element("label", { class: `choice ${tint(name)}`, title }, box, name));
  }

  #addedType(name, text) {
    const remove = () => {
      this.added.delete(name);
      this.#show();
      byId("type-name").focus();
      this.onChange();
    };
    const cross = element("button",
      { type: "button", class: "quiet small", "aria-label": `Remove the type ${name}`, onclick: remove }, "✕");
    return element("li", {},
      element("span", { class: `choice ${tint(name)}`, title: text === name ? null : text }, name, cross));
  }

  #add() {
    const [field, description] = [byId("type-name"), byId("type-description")];
    const name = field.value.trim();
    if (name) {
      this.off.delete(name);
      if (!(name in this.own)) this.added.set(name, description.value.trim() || name);
      field.value = description.value = "";
      this.#show();
      this.onChange();
    }
    field.focus();
  }
}
