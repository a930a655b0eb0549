// PubTator: `id|t|title`, `id|a|abstract`, then a line a mention: id, start, end, mention, type, concept id.

const TEXT_LINE = /^([^|\t]+)\|([ta])\|(.*)$/su;
const UNLINKED = "-1";
const ONE_ID = /^(tmVar:|[cgmnpr]\|)|^(?!-$)[^|,;+]+$/u;

/** Documents `{id, text, titleEnd}`; mentions and relations in the file are not kept. Throws an Error with the line. */
export function readPubtator(content) {
  const documents = [];
  content.split(/\r?\n/u).forEach((line, index) => {
    if (line.trim()) addLine(documents, line, index + 1);
  });
  return documents.map(({ id, title, abstract }) =>
    abstract === null
      ? { id, text: title, titleEnd: null }
      : { id, text: `${title} ${abstract}`, titleEnd: title.length });
}

function addLine(documents, line, number) {
  const last = documents.at(-1);
  const [, id, part, text] = TEXT_LINE.exec(line) ?? [];
  if (part === "t") {
    documents.push({ id, title: text, abstract: null });
  } else if (part === "a" && last?.id === id && last.abstract === null) {
    last.abstract = text;
  } else if (part || !last || line.split("\t").length < 4 || line.split("\t")[0] !== last.id) {
    throw new Error(`line ${number}: expected id|t|title, id|a|abstract or columns of document ${last?.id ?? "?"}`);
  }
}

/**
 * One document as PubTator. Line breaks and tabs become spaces, which keeps the offsets.
 *
 * `entities` are the service's, with their `text`; `titleEnd` (a UTF-16 offset) is null when all is title.
 */
export function writePubtator({ id, text, titleEnd }, entities) {
  const name = field(id).replaceAll("|", "_") || "1";
  const plain = field(text);
  const head = titleEnd === null
    ? [`${name}|t|${plain}`]
    : [`${name}|t|${plain.slice(0, titleEnd)}`, `${name}|a|${plain.slice(titleEnd + 1)}`];
  const mentions = entities.map((entity) =>
    [name, entity.start, entity.end, field(entity.text), field(entity.type), concept(entity.kg_id)].join("\t"));
  return `${[...head, ...mentions].join("\n")}\n\n`;
}

const field = (text) => text.replace(/[\n\r\t]/gu, " ");

// an id that holds a separator would be read back as several
const concept = (id) => (id && id === id.trim() && ONE_ID.test(id) ? field(id) : UNLINKED);
