// The classes to choose from: a button and a key each, of many classes a list to search.

const KEYS = "0123456789abcdefghijklmnopqrstuvwxyz";
const LISTED = 50; // classes that a search shows
const get = (id) => document.getElementById(id);

export const keys = new Map(); // from a key to the number of its class
let names = [];
let take = () => {};

// Show the classes; `chosen` is called with the number of one.
export function makeClasses(classes, chosen) {
  [names, take] = [classes, chosen];
  const many = names.length > KEYS.length;
  get("classes").hidden = many;
  get("finder").hidden = !many;
  if (many) return;
  const own = names.map((each) => each.toLowerCase());
  const single = own.every((each) => each.length === 1 && KEYS.includes(each))
    && new Set(own).size === own.length; // such as digits: then a class is its own key
  get("classes").replaceChildren(...names.map((text, number) => {
    const key = single ? own[number] : KEYS[number];
    keys.set(key, number);
    const [button, kbd] = ["button", "kbd"].map((tag) => document.createElement(tag));
    button.type = "button";
    button.setAttribute("aria-keyshortcuts", key);
    kbd.textContent = key;
    button.append(...(single ? [kbd] : [kbd, text]));
    button.addEventListener("click", () => take(number));
    return button;
  }));
}

// List the classes with the typed word in their names, best first.
export function search() {
  const word = get("word").value.trim().toLowerCase();
  const found = names.map((text, number) => ({ text, number, at: text.toLowerCase().indexOf(word) }))
    .filter((each) => each.at >= 0)
    .sort((a, b) => a.at - b.at || a.text.length - b.text.length || a.number - b.number);
  get("found").replaceChildren(...found.slice(0, LISTED).map(({ text, number }) => {
    const option = document.createElement("li");
    option.id = `class-${number}`;
    option.role = "option";
    option.textContent = text;
    option.addEventListener("click", () => take(number));
    return option;
  }));
  mark(get("found").firstElementChild);
}

function mark(option) {
  for (const each of get("found").children) each.setAttribute("aria-selected", each === option);
  get("word").setAttribute("aria-activedescendant", option?.id ?? "");
  option?.scrollIntoView({ block: "nearest" });
}

// Heed a key in the field: arrows move through the list, Enter takes a class.
export function findClass(event) {
  const now = get("found").querySelector("[aria-selected=true]");
  const next = { ArrowDown: now?.nextElementSibling, ArrowUp: now?.previousElementSibling };
  if (next[event.key]) mark(next[event.key]);
  else if (event.key === "Enter" && now) take(Number(now.id.slice("class-".length)));
  else return;
  event.preventDefault();
}

get("word").addEventListener("input", search);
