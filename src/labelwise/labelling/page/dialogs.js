// Dialogs: opening, closing, and the line in each that says what happened.

import { $, write } from "./dom.js";

export function open(id) {
  const dialog = $(id);
  for (const other of document.querySelectorAll("dialog[open]")) if (other !== dialog) other.close();
  tell(id, "");
  if (!dialog.open) dialog.showModal();
  return dialog;
}

/** Wires the close buttons and a click beside a dialog; the focus goes back to the image. */
export function prepare() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      const close = event.target.closest?.("[data-close]");
      if (close || (event.target === dialog && outside(dialog, event))) dialog.close();
    });
    dialog.addEventListener("close", () => document.querySelector("dialog[open]") || focusStage());
  }
}

/** Back to the image, without the ring that somebody who tabs there sees. */
export const focusStage = () => $("stage").focus({ focusVisible: false });

function outside(dialog, { clientX, clientY }) {
  const box = dialog.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

/** One line in the dialog, which a screen reader hears. */
export function tell(id, text, bad = false) {
  const line = $(id).querySelector("[role=status]");
  if (!line) return;
  write(line, text);
  line.classList.toggle("bad", bad);
}

/** Runs what a button asks for: the dialog is busy meanwhile, and an error becomes its line. */
export async function busy(id, work, waiting = "") {
  const dialog = $(id);
  if (dialog.hasAttribute("aria-busy")) return undefined;
  dialog.setAttribute("aria-busy", "true");
  if (waiting) tell(id, waiting);
  try {
    return await work();
  } catch (error) {
    tell(id, error.message, true);
    return undefined;
  } finally {
    dialog.removeAttribute("aria-busy");
  }
}
