// The text with its entities: a <mark> each, nested as they are, and at its end a button that names type and score.
// The buttons are one stop of the Tab key; arrow keys move between them.

import { tint } from "./colours.js";
import { element } from "./dom.js";
import { toUtf16 } from "./offsets.js";
import { forest } from "./spans.js";

const DEEPEST = 4;

/** Show `text` with `entities` in `region`; `onOpen(entity, button)` when one is chosen. */
export function showMarked(region, text, entities, onOpen) {
  const unit = toUtf16(text);
  const kept = region.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  region.replaceChildren(...pieces(forest(entities), 0, text.length));
  rove(region, kept);

  function pieces(nodes, from, to) {
    const made = [];
    let at = from;
    for (const node of nodes) {
      made.push(text.slice(at, unit(node.entity.start)), mark(node));
      at = unit(node.entity.end);
    }
    return [...made, text.slice(at, to)].filter((piece) => piece !== "");
  }

  function mark({ entity, children, height }) {
    const button = chip(entity, onOpen);
    const open = (event) => {
      event.stopPropagation(); // the innermost mark alone
      if (getSelection().isCollapsed) onOpen(entity, button);
    };
    const classes = `${tint(entity.type)} deep-${Math.min(height, DEEPEST)}${entity.kg_id ? " linked" : ""}`;
    const inside = pieces(children, unit(entity.start), unit(entity.end));
    return element("mark", { class: classes, onclick: open }, ...withTail(inside, button));
  }
}

/** The pieces of a mark with its button at the end, which stays on the line of the last word. */
function withTail(inside, button) {
  const last = inside.at(-1);
  if (typeof last !== "string") return [...inside, element("span", { class: "tail" }, button)];
  const word = /\S*\s*$/u.exec(last);
  const before = [...inside.slice(0, -1), last.slice(0, word.index)].filter((piece) => piece !== "");
  return [...before, element("span", { class: "tail" }, word[0], button)];
}

function chip(entity, onOpen) {
  const score = entity.score.toFixed(2);
  const linked = entity.kg_name ? `, ${entity.kg_name}` : entity.kg_id ? `, ${entity.kg_id}` : "";
  const button = element(
    "button",
    {
      type: "button",
      class: "chip",
      "data-key": `${entity.start} ${entity.end} ${entity.type}`,
      "aria-label": `${entity.type} ${score}: ${entity.text}${linked}`,
      onclick: (event) => {
        event.stopPropagation();
        onOpen(entity, button);
      },
    },
    entity.type,
    element("span", { class: "score" }, score),
  );
  return button;
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** Make the buttons of `region` one stop of the Tab key; the one with the key `kept` has the focus again. */
function rove(region, kept) {
  const buttons = [...region.querySelectorAll(".chip")];
  const current = buttons.find((button) => button.dataset.key === kept) ?? buttons[0];
  for (const button of buttons) button.tabIndex = button === current ? 0 : -1;
  if (kept !== null && current) current.focus({ preventScroll: true });
  region.onkeydown = (event) => {
    const at = buttons.indexOf(document.activeElement);
    const step = STEPS[event.key];
    if (step === undefined || at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, at + step))].focus();
  };
  for (const button of buttons) {
    button.addEventListener("focus", () => buttons.forEach((other) => (other.tabIndex = other === button ? 0 : -1)));
  }
}
