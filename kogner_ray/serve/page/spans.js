// Which entities are shown, and how they lie in each other. Entities are the service's: offsets in code points.

/** What the service is asked for; the slider begins here. */
export const LOWEST = 0.1;

/**
 * The entities that score above `threshold`, without the `hidden` types (a Set).
 *
 * Without hidden types, and for entities that were asked for at any lower threshold with the same settings, these are
 * what the service gives at `threshold`: it keeps spans greedily, best first, so that whether one is kept depends on
 * better ones alone.
 */
export function above(entities, threshold, hidden = new Set()) {
  return entities.filter(({ score, type }) => score > threshold && !hidden.has(type));
}

/**
 * Entities as a forest of `{entity, children, height}`, by containment; `height` is 0 for one that contains none.
 *
 * Entities do not cross. Of several with the same extent the best is the outermost.
 */
export function forest(entities) {
  const roots = [];
  const open = [];
  const outermostFirst = (a, b) => a.start - b.start || b.end - a.end || b.score - a.score;
  for (const entity of [...entities].sort(outermostFirst)) {
    while (open.length && open.at(-1).entity.end <= entity.start) open.pop();
    const node = { entity, children: [], height: 0 };
    (open.at(-1)?.children ?? roots).push(node);
    open.forEach((outer, depth) => (outer.height = Math.max(outer.height, open.length - depth)));
    open.push(node);
  }
  return roots;
}

/** How many entities each type has: a Map in the order of first appearance. */
export function counts(entities) {
  const numbers = new Map();
  for (const { type } of entities) numbers.set(type, (numbers.get(type) ?? 0) + 1);
  return numbers;
}
