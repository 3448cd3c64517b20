// Requests to the server. Every failure is a Trouble: status 0 when there was no answer at all.

export class Trouble extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const MINUTE = 60_000;

/** Sends JSON and gets JSON; with `body` it is a write. */
export async function call(path, { body, timeout = MINUTE / 3, keepalive = false } = {}) {
  const write = body === undefined ? { cache: "no-store" } : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), keepalive,
  };
  let response, data;
  try {
    response = await fetch(path, { ...write, credentials: "same-origin", signal: AbortSignal.timeout(timeout) });
    data = await response.json();
  } catch (error) {
    if (!response || response.ok) throw new Trouble(0, "The labelwise server does not answer."); // or broke off
    data = {};
  }
  if (response.ok) return data;
  if (response.status === 401) window.dispatchEvent(new Event("signed-out"));
  throw new Trouble(response.status, data.error || `The server answered with status ${response.status}.`);
}

const query = (path, values) => call(`${path}?${new URLSearchParams(values)}`);

export const state = (annotator) => query("/api/state", { annotator });
export const next = (annotator, n, have, was) =>
  query("/api/next", { annotator, n, have: have.join(","), ...was ? { was } : {} });
export const history = (annotator, n = 50) => query("/api/history", { annotator, n });
export const grid = (annotator, cls, n) => query("/api/grid", { annotator, class: cls, n });
export const review = (annotator) => query("/api/review", { annotator });
export const unreadable = () => call("/api/unreadable");
export const answers = (annotator, events) =>
  call("/api/answers", { body: { annotator, events }, keepalive: events.length < 40 });
export const classes = (change) => call("/api/classes", { body: change });
export const exportTo = (format) => call("/api/export", { body: { format }, timeout: 60 * MINUTE });
export const rescan = () => call("/api/rescan", { body: {}, timeout: 10 * MINUTE });
export const settings = (change) => call("/api/settings", { body: change });

export const viewOf = (image) => `/api/images/${image}/view`;
export const thumbOf = (image) => `/api/images/${image}/thumb`;

/** A random UUID; `crypto.randomUUID` is missing where the page came over plain http from another machine. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
