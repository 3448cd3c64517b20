// What this browser remembers: localStorage, which may be forbidden or full.

const PREFIX = "labelwise.";

export function recall(key, otherwise = null) {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** False when the browser would not keep it. */
export function remember(key, value) {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function forget(key) {
  try {
    localStorage.removeItem(PREFIX + key);
  } catch { /* nothing was kept */ }
}

/** The keys that begin so, without the common prefix. */
export function keysUnder(start) {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX + start)).map((key) => key.slice(PREFIX.length));
  } catch {
    return [];
  }
}

/** Calls back with the key when another tab forgets something. */
export function onForgotten(callback) {
  window.addEventListener("storage", (event) => {
    if (event.key?.startsWith(PREFIX) && event.newValue === null) callback(event.key.slice(PREFIX.length));
  });
}
