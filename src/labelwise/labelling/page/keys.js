// Keys to actions, on any keyboard layout.

/** A digit's value, a letter or a sign; null for what is no key of ours. */
export function keyOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
  if (event.key === "?" || event.key === "/") return event.key;
  if (/^[0-9]$/.test(event.key)) return event.key;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code); // French keyboards need Shift for digits
  if (digit && !event.shiftKey) return digit[1];
  if (/^[a-z]$/i.test(event.key)) return event.key.toLowerCase();
  const letter = /^Key([A-Z])$/.exec(event.code); // keyboards without Latin letters
  return letter && event.key.length === 1 ? letter[1].toLowerCase() : event.key;
}

const TYPING = "input:not([type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable]";

/** True where a key is text for a field, not a command. */
export const typing = (target) => target instanceof Element && target.closest(TYPING) !== null;

/** Calls `act(key, event)` for keys outside fields and dialogs; what it takes (returns true) goes no further. */
export function listen(enabled, act) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.repeat || !enabled() || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const key = keyOf(event);
    if (key !== null && act(key, event)) event.preventDefault();
  });
}
