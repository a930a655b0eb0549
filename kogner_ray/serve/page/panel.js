// The side panel: a mention with its score and link, and the KG entity that it denotes, whose neighbours lead on.

import { tint } from "./colours.js";
import { counted, element } from "./dom.js";
import { drawGraph } from "./graph.js";

const SYNONYMS = 12;

/** The panel; `load(id)` resolves to a KG entity. */
export class Panel {
  constructor(aside, load) {
    Object.assign(this, { aside, load, trail: [], opener: null, mention: null });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !aside.hidden && !document.querySelector("dialog[open]")) this.close();
    });
  }

  /** Show a mention of the service; the focus goes back to `opener` in the end. */
  open(mention, opener) {
    this.#mark(false);
    Object.assign(this, { mention, opener, trail: [] });
    this.#mark(true);
    this.aside.hidden = false;
    this.#fill(element("p", { class: "hint" }, mention.kg_id ? "Loading …" : "Not linked to the knowledge graph."));
    if (mention.kg_id) this.#visit(mention.kg_id);
    this.#title.focus();
  }

  /** Close it; the focus, where it was inside, goes back to the mention. */
  close() {
    const inside = this.aside.contains(document.activeElement);
    this.aside.hidden = true;
    this.mention = null;
    this.#mark(false);
    const again = this.opener?.isConnected ? this.opener : document.querySelector("#marked .chip[tabindex='0']");
    if (inside) again?.focus();
  }

  #mark(open) {
    if (open) this.opener.setAttribute("aria-current", "true");
    else this.opener?.removeAttribute("aria-current");
  }

  get #title() {
    return this.aside.querySelector("#panel-title");
  }

  async #visit(id) {
    const mention = this.mention;
    this.aside.setAttribute("aria-busy", "true");
    try {
      const entity = await this.load(id);
      if (mention !== this.mention) return; // another was opened meanwhile
      this.trail.push(entity);
      this.#fill(...this.#entity(entity));
    } catch (error) {
      if (mention === this.mention) this.#fill(element("p", { class: "problem", role: "alert" }, error.message));
    } finally {
      this.aside.removeAttribute("aria-busy");
    }
  }

  #fill(...content) {
    const inside = this.aside.contains(document.activeElement);
    this.aside.replaceChildren(this.#head(), ...content);
    if (inside) this.#title.focus();
  }

  #head() {
    const [shown, before] = [this.trail.at(-1), this.trail.at(-2)];
    const walked = this.trail.length > 1;
    const title = walked ? shown.name : this.mention.text;
    const back = before && element("button", { type: "button", class: "quiet back", onclick: () => this.#back() },
      "← ", before.name);
    const close = element("button",
      { type: "button", class: "quiet close", "aria-label": "Close", onclick: () => this.close() }, "✕");
    const heading = element("h2", { id: "panel-title", tabindex: -1 }, title);
    return element("header", {}, element("div", { class: "row spread" }, back || element("span"), close), heading,
      walked ? typeLine(shown.type) : typeLine(this.mention.type, this.mention.score));
  }

  #back() {
    this.trail.pop();
    this.#fill(...this.#entity(this.trail.at(-1)));
  }

  #entity(entity) {
    const score = this.trail.length === 1 ? this.mention.link_score : null;
    return [facts(entity, score), ...this.#neighbourhood(entity)];
  }

  #neighbourhood(entity) {
    const { neighbours, n_neighbours: total } = entity;
    if (!neighbours.length) return [element("p", { class: "hint" }, "No neighbours in the graph.")];
    const open = (id) => this.#visit(id);
    const all = total > neighbours.length ? `The first ${neighbours.length}` : "All";
    return [
      element("h3", {}, "Neighbourhood ", element("span", { class: "hint" }, counted(total, "neighbour"))),
      drawGraph(entity, open),
      element("details", {}, element("summary", {}, `${all} as a list`), neighbourList(neighbours, open)),
    ];
  }
}

function typeLine(type, score = null) {
  return element("p", { class: "row" }, element("span", { class: `label ${tint(type)}` }, type),
    score !== null && element("span", {}, "score ", element("b", {}, score.toFixed(3))));
}

function facts({ id, name, type, synonyms }, linkScore) {
  const rows = [["Name", name], ["KG id", element("code", {}, id)], ["KG type", type]];
  if (linkScore !== null && linkScore !== undefined) rows.push(["Link score", linkScore.toFixed(3)]);
  if (synonyms.length) rows.push(["Synonyms", synonymList(synonyms)]);
  return element("dl", {}, ...rows.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));
}

function synonymList(synonyms) {
  const list = (items) => element("ul", { class: "synonyms" }, ...items.map((item) => element("li", {}, item)));
  if (synonyms.length <= SYNONYMS) return list(synonyms);
  const rest = synonyms.slice(SYNONYMS);
  const more = element("details", {}, element("summary", {}, `${rest.length} more`), list(rest));
  return element("div", {}, list(synonyms.slice(0, SYNONYMS)), more);
}

function neighbourList(neighbours, open) {
  const item = ({ id, name, type, relation, direction }) =>
    element("li", {},
      element("span", { class: "hint" }, `${direction === "out" ? "→" : "←"} ${relation.replaceAll("_", " ")} `),
      element("button", { type: "button", class: "link", onclick: () => open(id) }, name),
      element("span", { class: "hint" }, ` ${type}`));
  return element("ul", { class: "neighbours" }, ...neighbours.map(item));
}
