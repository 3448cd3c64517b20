// What the page says in passing: a line over the image, and the words that a screen reader hears.

import { $, el, write } from "./dom.js";

let hiding = 0;
let waiting = null; // a warning that came while a dialog was open

/** A short line that something was done. */
export function said(text) {
  show(text, 3000);
  speak("live", text);
}

/** A line that stands longer, heard at once; behind a dialog nobody would see or hear it, so it waits for its end. */
export function warn(text, milliseconds = 8000) {
  if (document.querySelector("dialog[open]")) {
    waiting = () => warn(text, milliseconds);
    return;
  }
  show(text, milliseconds, true);
  speak("alert", text);
}

/** Says what waited for the end of a dialog. */
export function afterDialogs() {
  if (!waiting || document.querySelector("dialog[open]")) return;
  const now = waiting;
  waiting = null;
  now();
}

/** Takes the line away: what it says holds no longer. */
export function hush() {
  clearTimeout(hiding);
  waiting = null;
  $("note").hidden = true;
}

/** A new element each time: the same words twice are said twice. */
export function speak(id, text) {
  $(id).replaceChildren(el("p", {}, text));
}

export function show(text, milliseconds = 3000, bad = false) {
  write($("note"), text);
  $("note").classList.toggle("bad", bad);
  $("note").hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { $("note").hidden = true; }, milliseconds);
}
