// The review page: name the class, see what it is, decide. Every decision is saved by the server
// before the next sample is shown, so that there is nothing to lose here.

import { findClass, keys, makeClasses, search } from "./classes.js";
import { begin, draw, enlarge, picture, play, turn } from "./pictures.js";

const UNTOLD = -1; // the "class" of who cannot tell
const AHEAD = 3; // samples whose pictures are fetched before they are shown
const DONE = { accepted: "Accepted", rejected: "Rejected", unsure: "Unsure" };
const get = (id) => document.getElementById(id);

let reviewer = document.body.dataset.reviewer;
let queue = null; // the server's list; items as objects
let item = null; // the one that is shown; null at the end
let seen = null; // the class that was named of it; null before that
let busy = false;

// --- the server

async function ask(path, body) {
  const options = body
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
    : {};
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer, and nothing was saved just now. Start `review` " +
      "again, and open the address that it shows; what was decided before is safe.");
  }
  if (!answer.ok) throw new Error(`The server refused that: ${await answer.text()}`);
  return answer.json();
}

async function alone(work) { // one thing at a time, and what fails is said
  if (busy) return;
  busy = true;
  try {
    await work();
    get("alert").hidden = true;
  } catch (error) {
    get("alert").textContent = error.message;
    get("alert").hidden = false;
  } finally {
    busy = false;
  }
}

// --- which sample

const address = () => `reviewer=${encodeURIComponent(reviewer)}`;

async function load() {
  queue = await ask(`items?${address()}`);
  queue.items = queue.items.map(([id, attack, round, status, named, others], at) =>
    ({ id, attack: queue.attacks[attack], round, status, seen: named, others, at }));
  queue.byId = new Map(queue.items.map((each) => [each.id, each]));
  fill(get("attack"), queue.attacks);
  fill(get("round"), [...new Set(queue.items.map((each) => each.round))].sort((a, b) => a - b));
  makeClasses(queue.classes, (number) => alone(() => name(number)));
  begin(queue);
  get("ask").hidden = true;
  get("review").hidden = get("who").hidden = false;
  get("reviewer").textContent = reviewer;
  await show(following(-1, 1));
}

function fill(select, values) {
  select.replaceChildren(select.options[0], ...values.map((value) => new Option(value, value)));
}

function isShown(each) {
  const view = get("view").value;
  const wanted = { todo: each.status === "pending", open: each.status === "pending"
    && !each.others, done: each.status !== "pending", all: true }[view];
  const { value: attack } = get("attack");
  const { value: round } = get("round");
  return wanted && (!attack || each.attack === attack) && (!round || String(each.round) === round);
}

function following(at, step) { // the next that the filter shows, all round; null for none
  const { items } = queue;
  for (let n = 1; n <= items.length; n += 1) {
    const each = items[(at + step * n + 2 * items.length) % items.length];
    if (isShown(each)) return each;
  }
  return null;
}

async function show(next) {
  item = next;
  progress();
  get("item").hidden = !item;
  get("end").hidden = Boolean(item);
  if (!item) return end();
  const named = sessionStorage.getItem(item.id); // before a reload
  seen = item.seen ?? (named === null ? null : Number(named));
  const decided = item.status !== "pending";
  for (const part of ["original-figure", "difference-figure", "revealed", "naming"]) {
    get(part).hidden = true; // until its picture is there: none is named by the one before
  }
  get("question").textContent = "Loading";
  get("word").value = "";
  search();
  const sample = picture(item.id, "sample");
  let after = item;
  for (let n = 0; n < AHEAD && after; n += 1) {
    after = following(after.at, 1);
    if (after) picture(after.id, "sample");
  }
  await sample;
  if (seen !== null || decided) return reveal();
  if (queue.originals) for (const kind of ["original", "difference"]) picture(item.id, kind);
  await draw({ sample: item.id });
  get("question").textContent = "Which class does it show?";
  get("naming").hidden = false;
  focus(get(get("finder").hidden ? "question" : "word"));
  say(`Sample ${item.at + 1} of ${queue.items.length}. Which class does it show?`);
}

function progress() {
  const done = queue.items.filter((each) => each.status !== "pending").length;
  get("progress").max = queue.items.length;
  get("progress").value = done;
  get("count").textContent = `${done} of ${queue.items.length} decided by you`;
  get("undo").disabled = queue.history.length === 0;
}

async function end() {
  get("left").textContent = get("view").value === "todo" && !get("attack").value
    && !get("round").value ? "You have decided on all samples."
    : "No sample passes this filter (any more). Choose another above to go on.";
  const rates = await ask(`rates?${address()}`);
  describe(get("rates"), rates);
  focus(get("ended"));
  say(Object.entries(rates).map((pair) => pair.join(": ")).join(". "));
}

// --- naming and deciding

async function name(number) {
  sessionStorage.setItem(item.id, number);
  seen = number;
  get("naming").hidden = true;
  try {
    await reveal();
  } finally {
    if (get("revealed").hidden) { // it failed before the label was shown: ask again
      sessionStorage.removeItem(item.id);
      seen = null;
      get("naming").hidden = false;
    }
  }
}

const className = (number) => (number === UNTOLD ? "none" : queue.classes[number] ?? String(number));

async function reveal() {
  const shown = item;
  const about = await ask(`reveal/${item.id}`);
  if (shown !== item) return;
  const right = seen === about.label;
  const verdict = document.createElement("span");
  verdict.className = right ? "right" : "wrong";
  verdict.textContent = right ? "as you said" : seen === UNTOLD ? "you could not tell"
    : `you said ${className(seen)}`;
  get("answer").replaceChildren("Its label: ", bold(className(about.label)));
  if (seen !== null) get("answer").append(" — ", verdict);
  if (about.control) get("answer").append(". A control: nobody perturbed it.");
  const rows = { "made by": about.control ? "nobody" : `${about.attack}, round ${about.round}`,
    original: about.source };
  if (about.linf !== undefined) {
    rows.difference = `largest ${about.linf.toFixed(4)}, L2 ${about.l2.toFixed(3)}`;
  }
  if (about.factor === null && !about.control) rows.original += " (which cannot be shown)";
  describe(get("about"), rows);
  get("factor").textContent = `difference, times ${about.factor}`;
  get("original-figure").hidden = get("difference-figure").hidden = about.factor === null;
  get("question").textContent = about.control ? "Is its label right?"
    : `Does it still show ${className(about.label)}?`;
  for (const button of document.querySelectorAll("[data-status]")) {
    button.setAttribute("aria-pressed", button.dataset.status === item.status);
  }
  get("revealed").hidden = false;
  const kinds = about.factor === null ? { sample: item.id }
    : { sample: item.id, original: item.id, difference: item.id };
  focus(get("question"));
  await draw(kinds);
  say(`${get("answer").textContent} Accept, reject or unsure?`);
}

async function decide(status) {
  await ask("decide", { id: item.id, status, reviewer, seen });
  item.status = status;
  item.seen = seen;
  sessionStorage.removeItem(item.id);
  queue.history = queue.history.filter((id) => id !== item.id).concat(item.id);
  const { at } = item;
  await show(following(at, 1));
  if (item) say(`${DONE[status]}. ${get("status").textContent}`);
}

async function undo() {
  const last = queue.byId.get(queue.history.at(-1));
  if (!last) return;
  await ask("decide", { id: last.id, status: "pending", reviewer, seen: last.seen });
  queue.history.pop();
  const before = DONE[last.status];
  last.status = "pending";
  await show(last);
  say(`Taken back: ${before}. ${get("status").textContent}`);
}

function describe(list, rows) {
  list.replaceChildren(...Object.entries(rows).flatMap(([term, text]) => {
    const [dt, dd] = ["dt", "dd"].map((tag) => document.createElement(tag));
    [dt.textContent, dd.textContent] = [term, text];
    return [dt, dd];
  }));
}

function bold(text) {
  const strong = document.createElement("strong");
  strong.textContent = text;
  return strong;
}

function say(text) { get("status").textContent = text; }
function focus(element) { element.focus({ preventScroll: true }); }

// --- keys and buttons

const skip = (step) => alone(() => show(following(item ? item.at : -1, step)));

function act(key) { // what a key does now; null for nothing
  const common = { Backspace: () => alone(undo), PageDown: () => skip(1), PageUp: () => skip(-1),
    "+": () => enlarge(1), "=": () => enlarge(1), "-": () => enlarge(-1) };
  const clip = { " ": play, ArrowLeft: () => turn(-1), ArrowRight: () => turn(1) };
  if (common[key]) return common[key];
  if (clip[key]) return queue.frames > 1 ? clip[key] : null;
  if (!item) return null;
  if (get("naming").hidden) {
    const status = { a: "accepted", r: "rejected", u: "unsure" }[key.toLowerCase()];
    return status && !get("revealed").hidden ? () => alone(() => decide(status)) : null;
  }
  if (key === ".") return () => alone(() => name(UNTOLD));
  const number = keys.get(key.toLowerCase());
  return number === undefined ? null : () => alone(() => name(number));
}

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (!queue || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (target.matches("select, input:not([type=range]):not(#word)")) return;
  if (target.matches("#word") && !key.startsWith("Page")
    && !(key === "Backspace" && !target.value)) return;
  if (target.matches("button, summary") && key === " ") return; // it presses them
  if (target.matches("[type=range]") && key.startsWith("Arrow")) return; // it moves it
  const action = act(key);
  if (!action) return;
  event.preventDefault();
  action();
});

for (const id of ["view", "attack", "round"]) {
  get(id).addEventListener("change", () => alone(() => show(following(-1, 1))));
}
for (const button of document.querySelectorAll("[data-status]")) {
  button.addEventListener("click", () => alone(() => decide(button.dataset.status)));
}
get("word").addEventListener("keydown", findClass);
get("untold").addEventListener("click", () => alone(() => name(UNTOLD)));
get("undo").addEventListener("click", () => alone(undo));
get("before").addEventListener("click", () => skip(-1));
get("after").addEventListener("click", () => skip(1));
get("rename").addEventListener("click", introduce);
get("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  reviewer = get("name").value.trim();
  if (!reviewer) return;
  localStorage.setItem("reviewer", reviewer);
  alone(load);
});

function introduce() {
  get("review").hidden = true;
  get("ask").hidden = false;
  get("name").value = reviewer;
  get("name").focus();
}

reviewer ||= localStorage.getItem("reviewer") ?? "";
if (reviewer) alone(load);
else introduce();
