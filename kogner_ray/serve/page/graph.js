// A KG entity amid its neighbours, as SVG: the entity in the middle, neighbours on a ring, the same each time.

import { tint } from "./colours.js";
import { svg } from "./dom.js";

const WIDTH = 380;
const RING_X = 70;
const LINE = 38;
const LONGEST = 17;

/** How many neighbours are drawn; a list has the others. */
export const MOST = 16;

/**
 * Places of the neighbours: `[{neighbour, x, y, side}]`, the middle being (0, 0).
 *
 * In the order of relation, direction and name, clockwise from the top right; each on a line of its own, so that labels
 * never meet.
 */
export function layout(neighbours) {
  const drawn = [...neighbours].sort(inOrder).slice(0, MOST);
  const right = Math.ceil(drawn.length / 2);
  const places = [...Array(right).keys()].map((row) => place(row, right, 1));
  const left = drawn.length - right;
  places.push(...[...Array(left).keys()].map((row) => place(left - 1 - row, left, -1)));
  return drawn.map((neighbour, index) => ({ neighbour, ...places[index] }));
}

function place(row, rows, side) {
  const radius = Math.max(60, (rows * LINE) / 2);
  const y = (row - (rows - 1) / 2) * LINE;
  return { x: side * RING_X * Math.sqrt(1 - (y / radius) ** 2 / 1.4), y, side };
}

function inOrder(a, b) {
  const [keyA, keyB] = [a, b].map((n) => [n.relation, n.direction, n.name, n.id].join("\n"));
  return keyA < keyB ? -1 : keyA > keyB ? 1 : 0;
}

/** The drawing of `entity` with its neighbours; `onOpen(id)` when one is chosen. */
export function drawGraph(entity, onOpen) {
  const places = layout(entity.neighbours);
  const half = Math.max(70, ...places.map(({ y }) => Math.abs(y) + LINE));
  const label = `${entity.name} and ${places.length} of its ${entity.n_neighbours} neighbours`;
  return svg(
    "svg",
    { class: "graph", viewBox: `${-WIDTH / 2} ${-half} ${WIDTH} ${2 * half}`, role: "group", "aria-label": label },
    svg("defs", {}, arrow()),
    ...places.map(edge),
    centre(entity),
    ...places.map((at) => node(at, onOpen)),
  );
}

function arrow() {
  const box = { viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" };
  return svg("marker", { id: "arrow", ...box }, svg("path", { d: "M0 0 8 4 0 8z", class: "arrow" }));
}

function edge({ neighbour, x, y }) {
  const length = Math.hypot(x, y);
  const at = (distance) => [(x * distance) / length, (y * distance) / length];
  const [from, to] = [at(14), at(length - 10)];
  const [[x1, y1], [x2, y2]] = neighbour.direction === "out" ? [from, to] : [to, from];
  return svg("line", { class: "edge", x1, y1, x2, y2, "marker-end": "url(#arrow)" });
}

function centre({ name, type }) {
  return svg(
    "g",
    { class: `node centre ${tint(type)}` },
    svg("circle", { r: 11 }),
    svg("title", {}, `${name}, ${type}`),
  );
}

function node({ neighbour, x, y, side }, onOpen) {
  const { id, name, type, relation, direction } = neighbour;
  const open = () => onOpen(id);
  const said = direction === "out" ? `${plain(relation)} ${name}` : `${name} ${plain(relation)} this`;
  const text = { x: side * 13, "text-anchor": side > 0 ? "start" : "end" };
  return svg(
    "g",
    {
      class: `node ${tint(type)}`,
      transform: `translate(${x} ${y})`,
      tabindex: 0,
      role: "button",
      "aria-label": `${said}, ${type}`,
      "data-id": id,
      onclick: open,
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        open();
      },
    },
    svg("title", {}, `${said} (${type})`),
    svg("circle", { r: 7 }),
    svg("text", { ...text, y: 0 }, shortened(name)),
    svg("text", { ...text, y: 13, class: "relation" }, shortened(plain(relation))),
  );
}

const plain = (relation) => relation.replaceAll("_", " ");

const shortened = (text) => {
  const characters = [...text];
  return characters.length > LONGEST ? `${characters.slice(0, LONGEST - 1).join("")}…` : text;
};
