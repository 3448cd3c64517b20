// Small helpers for the DOM. Text from the server only ever becomes a text node, never HTML.

export const $ = (id) => document.getElementById(id);

/** An element with properties, listeners ("onclick"), attributes and children (nodes or text). */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(node.dataset, value);
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for SVG: attributes only. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** Sets the text if it changed, so that nothing is laid out or announced twice. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const percent = (share) => `${Math.round(share * 100)}\u00a0%`;

/** A probability: what is below one is never rounded up to certainty. */
export const chance = (share) => (share < 1 && share > 0.995 ? ">\u00a099\u00a0%" : percent(share));

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** "12 s", "3 min", "2 h": how long, in one number. */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)}\u00a0s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}\u00a0min`;
  return `${(seconds / 3600).toFixed(1)}\u00a0h`;
}

/** "81 % right on 100 random images (72 to 88)" as parts: the number, the sample, the interval. */
export function accuracyParts({ value, low, high, n }) {
  const whole = (share) => Math.round(share * 100);
  return [percent(value), `on ${count(n, "random image")}`, `(${whole(low)} to ${whole(high)})`];
}

export const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
