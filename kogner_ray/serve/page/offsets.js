// The service counts Unicode code points, JavaScript UTF-16 units; an emoji is one of the former, two of the latter.

/** A function from code point offset to UTF-16 offset in `text`; offsets past the end are the end. */
export function toUtf16(text) {
  if (!/[\ud800-\udbff][\udc00-\udfff]/.test(text)) return (offset) => Math.min(offset, text.length);
  const units = [];
  let unit = 0;
  for (const character of text) {
    units.push(unit);
    unit += character.length;
  }
  return (offset) => (offset < units.length ? units[offset] : unit);
}

/** Number of code points. */
export function codePoints(text) {
  let n = 0;
  for (const _ of text) n += 1;
  return n;
}
