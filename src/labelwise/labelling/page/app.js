// Puts the page together: the project's state, the next images, the keys and the buttons.

import { Classes } from "./classes.js";
import { Clock } from "./clock.js";
import { focusStage, open, prepare } from "./dialogs.js";
import { $, sleep, write } from "./dom.js";
import { Finder } from "./finder.js";
import { Finish } from "./finish.js";
import { Grid } from "./grid.js";
import { Header } from "./header.js";
import { listen } from "./keys.js";
import { afterDialogs, said, show, speak, warn } from "./notes.js";
import { Options, Settings } from "./options.js";
import { Outbox } from "./outbox.js";
import { Panel } from "./panel.js";
import { Prefetch } from "./prefetch.js";
import { Review } from "./review.js";
import { Session } from "./session.js";
import { ProjectState } from "./state.js";
import { View } from "./view.js";

const PRESSED = new Set(["BUTTON", "A", "SUMMARY", "INPUT"]); // what Enter presses itself
const SHIFTING = 1500; // milliseconds in which a digit that changed its class labels nothing

const options = new Options();
const annotator = () => options.annotator;
const state = new ProjectState(annotator);

/** The outbox needs the project's name, so the page begins with the state. */
async function begin() {
  prepare();
  const waiting = new Header({ state, outbox: null });
  window.addEventListener("signed-out", signedOut);
  for (let pause = 500; ; pause = Math.min(2 * pause, 8000)) {
    await state.refresh();
    if (state.data) break;
    waiting.draw();
    await sleep(pause);
  }
  run(new Outbox(state.data.project.id ?? state.data.project.name));
}

function run(outbox) {
  const prefetch = new Prefetch(annotator, () => [
    ...session?.current ? [session.current.offer.image] : [], ...page?.grid.images() ?? [], ...outbox.images(),
  ]);
  const session = new Session({ prefetch, outbox, clock: new Clock(), annotator });
  state.follow(outbox);
  const parts = { state, outbox, prefetch, session, options, annotator };
  const page = {
    ...parts,
    header: new Header(parts), view: new View(parts), panel: new Panel(parts), finish: new Finish(parts), grid: new Grid(parts),
    review: new Review(parts),
  };
  page.finder = new Finder({ state, choose: (id, stamp) => label(page, id, stamp) });
  page.classes = new Classes({ ...parts, changed: () => {
    page.session.dismissAgain();
    renew(page);
  } });
  page.settings = new Settings({ ...parts, renamed: (before) => renamed(page, before), changed: () => renew(page) });
  const actions = actionsOf(page);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-do]");
    if (button) actions[button.dataset.do]?.(event);
  });
  $("classes").addEventListener("click", (event) => {
    const button = event.target.closest("[data-class]");
    if (button) label(page, Number(button.dataset.class), event.timeStamp);
  });
  $("dock").addEventListener("click", (event) => { // or Enter would press that button again
    if (event.detail > 0 && event.target.closest("button") && !document.querySelector("dialog[open]")) focusStage();
  });
  listen(() => options.keys && !(page.panel.open && $("main").inert), (key, event) => act(page, actions, key, event));
  for (const dialog of document.querySelectorAll("dialog:not(#finder)")) { // their time is not the image's
    dialog.addEventListener("close", () => session.clock.restart());
  }
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", afterDialogs);
  follow(page);
  start(page);
}

/** Who labels is asked first; then what waits is sent, then the history for undo, then the first images. */
async function start({ outbox, session, prefetch, settings, header }) {
  header.draw();
  await settings.askName();
  await outbox.flush();
  await session.recollect();
  await prefetch.begin();
  focusStage();
}

function follow(page) {
  const { state: project, outbox, session, header, panel, view, finish, prefetch } = page;
  let { version, model } = project.data;
  const redraw = () => {
    header.draw();
    undoButton(page);
    return finish.draw(session.current);
  };
  project.addEventListener("change", () => {
    if (!project.trouble) $("signed-out").close(); // the link was opened again elsewhere
    const news = redraw();
    if (news) speak("live", news);
    panel.draw();
    view.show({ stamp: null });
    const again = prefetch.trouble || prefetch.phase === "nothing" || project.data.version !== version;
    if (!session.current && again) prefetch.fill();
    if (project.data.model?.round !== model?.round) prefetch.renew();
    ({ version, model } = project.data);
  });
  outbox.addEventListener("change", () => header.draw());
  session.addEventListener("show", ({ detail }) => {
    view.show(detail);
    announce(page, redraw() || view.describe());
  });
  session.addEventListener("undone", ({ detail }) => {
    page.saying = `undone: ${wording(page, detail)}`;
    show(`Undone: ${wording(page, detail)}.`);
  });
  session.addEventListener("said", ({ detail }) => tell(page, detail));
  session.addEventListener("refused", ({ detail: { text, review } }) => {
    if (!review || !$("review").open) warn(text); // there it stands over the list
  });
  project.addEventListener("classes", ({ detail: { text, keys } }) => {
    page.shifted = { keys: new Set(keys), at: performance.now() };
    warn(text, 15_000);
    session.dismissAgain();
    prefetch.renew();
  });
  view.show({ stamp: null });
  redraw();
}

function actionsOf(page) {
  const { session, grid, review, panel, finder, classes, settings, finish } = page;
  const retry = async () => {
    await page.outbox.flush();
    await state.refresh();
    if (!session.current) await page.prefetch.fill();
  };
  return {
    unsure: (event) => answer(page, "unsure", null, event.timeStamp),
    skip: (event) => answer(page, "skip", null, event.timeStamp),
    undo: () => session.undo(),
    accept: (event) => accept(page, event),
    suggestions: () => toggleSuggestions(page),
    find: () => finder.show(),
    grid: () => grid.show(),
    review: () => review.show(),
    classes: () => classes.show(),
    export: () => finish.showExport(),
    settings: () => settings.show(),
    rescan: () => {
      settings.show();
      settings.rescan();
    },
    help: () => open("help"),
    menu: () => open("menu"),
    panel: () => {
      $("menu").close();
      panel.toggle();
    },
    retry,
  };
}

/** One key outside dialogs and fields; true when it was ours. */
function act(page, actions, key, event) {
  const cls = /^[1-9]$/.test(key) ? page.state.data.classes[Number(key) - 1] : null;
  if (cls && shifting(page, cls.id)) return said(`The key ${key} is ${cls.name} now: press it again to label.`) ?? true;
  if (cls) return label(page, cls.id, event.timeStamp) || true;
  if (key === "Enter") return !PRESSED.has(event.target.tagName) && accept(page, event);
  const name = { 0: "unsure", s: "skip", u: "undo", g: "grid", h: "suggestions", "?": "help", "/": "find" }[key];
  if (!name) return false;
  actions[name](event);
  return true;
}

/** A finger that was on its way when somebody changed the keys means the old one. */
function shifting({ shifted }, cls) {
  return Boolean(shifted?.keys.has(cls)) && performance.now() - shifted.at < SHIFTING;
}

/** Labels with the class that is suggested; false where none is on the screen. */
function accept(page, event) {
  const suggestion = page.view.suggestion();
  return suggestion !== null && (label(page, suggestion.class, event.timeStamp) || true);
}

const label = (page, cls, stamp) => answer(page, "label", cls, stamp);

function answer(page, kind, cls, stamp) {
  if (!page.session.current) return false;
  page.saying = wording(page, { kind, class: cls });
  if (!page.session.answer(kind, cls, stamp)) tell(page, "The image is still loading.");
  return true;
}

function wording({ state: project }, { kind, class: cls }) {
  if (kind === "label") return `labelled ${project.className(cls)}`;
  return kind === "unsure" ? "marked unsure" : "skipped";
}

/** One announcement for the result of a key and the new image, or what stands in its place. */
function announce(page, next) {
  const text = [page.saying ? `${page.saying}.` : "", next].filter(Boolean).join(" ");
  if (text) speak("live", text.charAt(0).toUpperCase() + text.slice(1));
  page.saying = "";
}

/** Says something in place of what the last key did. */
function tell(page, text) {
  page.saying = "";
  said(text);
}

/** The undo button says what it would take back. */
function undoButton(page) {
  const last = page.session.past.at(-1);
  write($("undo-what"), last ? { label: page.state.className(last.class), unsure: "unsure", skip: "skip" }[last.kind] ?? "" : "");
}

function toggleSuggestions(page) {
  options.set("suggestions", !options.suggestions);
  page.view.show({ stamp: null });
  drawSuggestions();
  tell(page, options.suggestions ? "Suggestions are shown." : "Suggestions are hidden.");
}

function drawSuggestions() {
  write($("suggestions").firstElementChild, options.suggestions ? "Hide" : "Show");
}

/** Another person: other answers to undo, other images. */
function renamed(page, before) {
  page.session.past = [];
  page.prefetch.was = before;
  renew(page);
}

/** Forgets the offers held and asks for new ones, after something changed what should be offered. */
async function renew(page) {
  drawSuggestions();
  page.prefetch.clear();
  await state.refresh();
  await page.prefetch.fill();
}

function signedOut() {
  const remote = !["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);
  $("signed-out-local").hidden = remote;
  $("signed-out-remote").hidden = !remote;
  if (!$("signed-out").open) open("signed-out");
}

drawSuggestions();
begin();
