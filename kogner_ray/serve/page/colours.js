// A colour and a kind of line for each type. Hues repeat after eight types, with another line; labels always tell.

const HUES = 8;
const LINES = 3;
const places = new Map();

/** Reserve places for `types`, in order, so that the model's own types always look the same. */
export function reserve(types) {
  types.forEach(place);
}

/** Classes of what is shown in the colour of `type`. */
export function tint(type) {
  const at = place(type);
  return `tint hue-${at % HUES} line-${Math.floor(at / HUES) % LINES}`;
}

function place(type) {
  if (!places.has(type)) places.set(type, places.size);
  return places.get(type);
}
