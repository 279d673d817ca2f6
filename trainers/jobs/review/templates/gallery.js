// What was marked becomes a file of lines, which `review --import-decisions` takes.
const marked = new Map(); // from the id of a sample to its line, without the name
let saved = true;
const get = (id) => document.getElementById(id);
const about = document.title.replace(/[^\w-]+/g, "-");

document.querySelector("main").addEventListener("change", ({ target }) => {
  marked.set(target.name, { hashes: [target.name], status: target.value,
    time: new Date().toISOString() });
  saved = false;
  get("status").textContent = `${marked.size} marked, not saved yet`;
});

get("save").addEventListener("submit", (event) => {
  event.preventDefault();
  const reviewer = get("name").value.trim();
  if (!reviewer || !marked.size) {
    get("status").textContent = reviewer ? "Nothing marked yet" : "Give your name first";
    return;
  }
  const lines = [...marked.values()].map((line) => `${JSON.stringify({ ...line, reviewer })}\n`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  link.download = `decisions-${about}.jsonl`;
  link.click();
  saved = true;
  get("status").textContent = `${marked.size} decisions saved as ${link.download}`;
});

addEventListener("beforeunload", (event) => {
  if (!saved) event.preventDefault();
});
