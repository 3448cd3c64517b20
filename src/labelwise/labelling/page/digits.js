// Which digit labels with which class, and what a change of the class list does to it.

export const DIGITS = 9;

/** Classes whose digit another list changes: [{name, from, to}]; from or to is 0 where there is none. */
export function moved(before, after) {
  const digit = (list, id) => {
    const at = list.findIndex((cls) => cls.id === id);
    return at >= 0 && at < DIGITS ? at + 1 : 0;
  };
  return after.filter(({ id }) => before.some((cls) => cls.id === id))
    .map(({ id, name }) => ({ id, name, from: digit(before, id), to: digit(after, id) }))
    .filter(({ from, to }) => from !== to);
}

/** "boat 4, ship none". */
export const digits = (moves) => moves.map(({ name, to }) => `${name} ${to || "none"}`).join(", ");

/** What somebody else did to the classes, in words; "" where nothing changed. `merge`: the last one that holds. */
export function news(before, after, merge, mergeBefore) {
  const old = new Map(before.map((cls) => [cls.id, cls.name]));
  const now = new Map(after.map((cls) => [cls.id, cls.name]));
  const parts = [];
  for (const [id, name] of old) {
    if (now.has(id)) continue;
    parts.push(merge?.class === id ? `${name} is part of ${merge.into_name} now` : `${name} is part of another class now`);
  }
  for (const [i, { id, name }] of after.entries()) {
    const key = i < DIGITS ? `, key ${i + 1}` : "";
    if (!old.has(id)) parts.push(mergeBefore?.class === id ? `${name} is a class of its own again${key}` : `${name} is new${key}`);
    else if (old.get(id) !== name) parts.push(`${old.get(id)} is called ${name} now`);
  }
  if (!parts.length) return "";
  const moves = moved(before, after);
  return `The classes have changed: ${parts.join("; ")}.${moves.length ? ` Keys now: ${digits(moves)}.` : ""}`;
}
