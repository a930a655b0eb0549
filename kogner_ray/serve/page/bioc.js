// BioC JSON: collections, lists of them, `{"PubTator3": [...]}`, or bare documents. Offsets are code points.

import { codePoints } from "./offsets.js";

const MAX_GAP = 10_000_000; // a wrong offset must not fill the memory with spaces

/** Documents `{id, text, titleEnd}` of a parsed file. Throws an Error that names the document. */
export function readBioc(value) {
  return [...biocDocuments(value)].map(fromBioc);
}

function* biocDocuments(value) {
  if (Array.isArray(value)) {
    for (const item of value) yield* biocDocuments(item);
  } else if (Array.isArray(value?.passages)) {
    yield value;
  } else {
    const documents = value?.documents ?? value?.PubTator3;
    if (!Array.isArray(documents)) throw new Error("expected BioC JSON with a list of documents");
    yield* documents;
  }
}

function fromBioc(source, index) {
  const id = String(source.id ?? index + 1);
  const units = (source.passages ?? []).flatMap(textUnits);
  units.sort((a, b) => a.offset - b.offset || a.text.length - b.text.length);
  let text = "";
  let length = 0;
  for (const unit of units) {
    const gap = unit.offset - length;
    if (!(gap >= 0 && gap <= MAX_GAP)) {
      throw new Error(`document ${id}: expected a passage at offset >= ${length}, got ${unit.offset}`);
    }
    text += " ".repeat(gap) + unit.text;
    length += gap + codePoints(unit.text);
  }
  return { id, text, titleEnd: titleEnd(units, text) };
}

function textUnits(passage) {
  const sentences = passage.sentences ?? [];
  const units = sentences.length && sentences.every(({ text }) => text) ? sentences : [passage];
  return units.map((unit) => ({ offset: unit.offset, text: unit.text ?? "", kind: passage.infons?.type ?? "" }));
}

/** PubTator can part a text where a title, one space and an abstract are all of it. */
function titleEnd(units, text) {
  const [title, abstract] = units;
  const fits = units.length === 2 && title.kind === "title" && abstract.kind === "abstract";
  return fits && text === `${title.text} ${abstract.text}` ? title.text.length : null;
}
