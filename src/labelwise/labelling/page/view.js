// The image, why it is shown, and the buttons for its label.

import { $, chance, el, write } from "./dom.js";

// No suggestion is shown with these; for a check, the model has seen the label, and "why" says what others think.
const BLIND = new Set(["test", "random", "repeat", "check"]);
// Random images and blind repeats look alike on purpose: nobody should know that an image came before.
const NEUTRAL = ["Control image", "Suggestions are hidden here. Images like this one keep the numbers honest."];
const BADGES = {
  test: "Test image", typical: "Typical image", picked: "Picked", again: "Asked again", check: "Check",
  grid: "From the grid", review: "From the review",
};

/** [badge, sentence] for an offer; `named`: with the classes that models say. */
function reason(offer, named = true) {
  if (offer.purpose === "random" || offer.purpose === "repeat") return NEUTRAL;
  const hidden = " Suggestions are hidden, so that the accuracy is honest.";
  const blind = offer.purpose === "test" && !/suggest/i.test(offer.why ?? "");
  const why = named ? offer.why : offer.why_unnamed ?? offer.why;
  return [BADGES[offer.purpose] ?? "Image", `${why ?? ""}${blind ? hidden : ""}`.trim()];
}

export class View {
  constructor({ session, state, options }) {
    Object.assign(this, { session, state, options });
    this.drawn = "";
  }

  suggestion() {
    const offer = this.session.current?.offer;
    if (!offer?.suggestion || !this.options.suggestions || BLIND.has(offer.purpose)) return null;
    const cls = this.state.holding(offer.suggestion.class);
    return cls === null ? null : { ...offer.suggestion, class: cls };
  }

  /** Swaps the image; `stamp` (time of the key) makes it a measurement. */
  show({ stamp }) {
    const { current } = this.session;
    const ready = this.session.ready();
    const shown = ready ? current.picture.element : null;
    if (shown !== $("picture").firstChild) $("picture").replaceChildren(...shown ? [shown] : []);
    $("loading").hidden = ready || !current;
    $("dock").classList.toggle("waiting", !ready);
    this.why();
    this.classes();
    if (stamp !== null) measure(ready ? "labelwise:next" : "labelwise:wait", stamp);
  }

  why() {
    const { current } = this.session;
    const [badge, text] = current ? reason(current.offer, this.options.suggestions) : ["", ""];
    write($("badge"), badge);
    $("badge").dataset.purpose = badge === NEUTRAL[0] ? "control" : current?.offer.purpose ?? "";
    write($("why"), [this.given(), text].filter(Boolean).join(" "));
    const suggestion = this.suggestion();
    if (suggestion && this.session.ready()) current.seen = true;
    write($("suggestion").firstElementChild, suggestion ? this.suggests(suggestion) : "");
    $("suggestion").hidden = !suggestion;
    $("suggestions").hidden = !current || (BLIND.has(current.offer.purpose) && current.offer.purpose !== "check");
  }

  suggests({ class: cls, probability }) {
    return `Suggestion: ${this.state.className(cls)}, ${chance(probability)}`;
  }

  /** The label that the image has now, where it is asked about again. */
  given() {
    const given = this.session.current?.offer.given;
    if (!given) return "";
    if (given.kind !== "label") return `It is marked ${given.kind} now.`;
    return `Its label now: ${this.state.className(given.class)}.`;
  }

  classes() {
    const list = this.state.data?.classes ?? [];
    const suggested = this.suggestion()?.class ?? null;
    const now = this.session.current?.offer.given?.class ?? null;
    const drawn = JSON.stringify([list.map(({ id, name }) => [id, name]), suggested, now]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const buttons = list.slice(0, 9).map((cls, i) => classButton(cls, i + 1, { suggested, now }));
    if (list.length > 9) {
      buttons.push(el("button", { type: "button", className: "class find", data: { do: "find" }, "aria-keyshortcuts": "/" },
        el("kbd", { "aria-hidden": "true" }, "/"), el("span", { className: "name" }, `${list.length - 9} more: find by typing`)));
    }
    $("classes").style.setProperty("--word", longest(list.slice(0, 9).map(({ name }) => name)));
    $("classes").replaceChildren(...buttons);
    $("classes").classList.toggle("many", list.length > 5);
  }

  /** What a screen reader hears with a new image. */
  describe() {
    const { current } = this.session;
    if (!current) return "";
    if (!this.session.ready()) return "The next image is loading.";
    const suggestion = this.suggestion();
    return ["Next image.", `${reason(current.offer)[0]}.`, this.given(), suggestion ? `${this.suggests(suggestion)}.` : ""]
      .filter(Boolean).join(" ");
  }
}

let canvas = null;

/** The width of the longest word of some names in ems: columns are as wide as that, so that no word is broken. */
function longest(names) {
  canvas ??= document.createElement("canvas").getContext("2d");
  canvas.font = `600 100px ${getComputedStyle(document.body).fontFamily}`;
  const words = names.flatMap((name) => name.split(/\s+|(?<=-)/));
  return Math.max(0, ...words.map((word) => canvas.measureText(word).width / 100)).toFixed(2);
}

function classButton({ id, name }, key, { suggested, now }) {
  const marks = [id === suggested ? "suggested" : "", id === now ? "now" : ""].filter(Boolean);
  return el("button", {
    type: "button", className: ["class", ...marks].join(" "), data: { class: id }, "aria-keyshortcuts": key,
  },
  el("kbd", { "aria-hidden": "true" }, key),
  el("span", { className: "name" }, name, id === suggested ? el("span", { className: "unseen" }, " (suggested)") : null,
    id === now ? el("small", {}, "label now") : null));
}

/** From the key to the frame after the swap. */
function measure(name, start) {
  requestAnimationFrame(() => requestAnimationFrame(() => {
    if (performance.getEntriesByType("measure").length > 500) performance.clearMeasures();
    performance.measure(name, { start, end: performance.now() });
  }));
}
