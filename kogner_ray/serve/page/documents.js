// From what was pasted, dropped or chosen to documents `{id, text, titleEnd}`.

import { readBioc } from "./bioc.js";
import { readPubtator } from "./pubtator.js";

const PEEK = 65_536;
const LOOKS = [
  ["pubtator", /^\s*[^|\t\n]+\|t\|/u],
  ["bioc_json", /^\s*[[{].*?"(documents|PubTator3|passages)"\s*:\s*\[\s*\{\s*"(?!start")/su],
  ["jsonl", /^\s*\{.*?"text"\s*:/su],
];

/** The format of a content by its look: `pubtator`, `bioc_json`, `jsonl`, or `text` for a plain one. */
export function formatOf(content) {
  return LOOKS.find(([, look]) => look.test(content.slice(0, PEEK)))?.[0] ?? "text";
}

/** All documents of a content. Throws an Error that names line or document when it breaks its format. */
export function readDocuments(content, name = "text") {
  const format = formatOf(content);
  const read = {
    pubtator: readPubtator,
    bioc_json: (text) => jsonValues(text).flatMap(readBioc),
    jsonl: readJsonl,
    text: (text) => [{ id: name, text, titleEnd: null }],
  }[format];
  return read(content);
}

/** The characters of a file: UTF-8, perhaps compressed by gzip. Throws an Error when it is neither. */
export async function readFile(file) {
  const head = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const packed = head[0] === 0x1f && head[1] === 0x8b;
  const stream = packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await new Response(stream).arrayBuffer());
  } catch {
    throw new Error(`${file.name}: expected text in UTF-8`);
  }
}

/** A collection, or one a line. */
function jsonValues(content) {
  try {
    return [JSON.parse(content)];
  } catch {
    return lines(content).map(([line, number]) => parsed(line, number));
  }
}

function readJsonl(content) {
  return lines(content).map(([line, number]) => {
    const { id, text, passages } = parsed(line, number) ?? {};
    if (typeof text !== "string") throw new Error(`line ${number}: expected a document with a text`);
    return { id: String(id ?? number), text, titleEnd: titleEnd(text, passages) };
  });
}

/** As in `bioc.js`; here passages are stretches of code points. */
function titleEnd(text, passages) {
  const [title, abstract] = passages ?? [];
  if (passages?.length !== 2 || title.kind !== "title" || abstract.kind !== "abstract") return null;
  const characters = [...text];
  const whole = title.start === 0 && abstract.start === title.end + 1 && abstract.end === characters.length;
  return whole && characters[title.end] === " " ? characters.slice(0, title.end).join("").length : null;
}

const lines = (content) =>
  content.split("\n").map((line, index) => [line, index + 1]).filter(([line]) => line.trim());

function parsed(line, number) {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new Error(`line ${number}: ${error.message}`);
  }
}
