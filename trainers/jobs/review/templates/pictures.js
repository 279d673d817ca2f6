// The pictures of a sample on canvases: fetched ahead, enlarged by whole pixels, clips played.

const KEPT = 24; // pictures kept
const DELAY = 120; // milliseconds a frame
const STEPS = [0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8];
const WIDEST = 320; // of a picture at zoom 1
const HIGHEST = 0.42; // of it, as a share of the window
const NARROW = 544; // of a page on which the sample has the width to itself, before the reveal
const get = (id) => document.getElementById(id);

const fetched = new Map(); // from a path to a promise of an image
let shape = null; // frames, columns, height and width of every sample
let images = {}; // by the id of their canvas
let frame = 0;
let zoom = 1;
let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;

export function picture(id, kind) {
  const path = `picture/${id}/${kind}`;
  if (!fetched.has(path)) {
    const image = new Image();
    image.src = path;
    const loaded = image.decode().then(() => image, () => {
      fetched.delete(path); // asked for again next time
      throw new Error("A picture cannot be read; the terminal says why, unless the server is gone.");
    });
    loaded.catch(() => {}); // whoever waits for it is told
    fetched.set(path, loaded);
    if (fetched.size > KEPT) fetched.delete(fetched.keys().next().value);
  }
  return fetched.get(path);
}

// Learn the form of all samples.
export function begin(queue) {
  shape = queue;
  get("player").hidden = shape.frames === 1;
  get("scrub").max = shape.frames - 1;
  showPlaying();
}

// Show a sample, and what else is given: from the id of a canvas to that of the sample.
export async function draw(ids) {
  const kinds = Object.keys(ids);
  const found = await Promise.all(kinds.map((kind) => picture(ids[kind], kind)));
  if (images.sample !== found[kinds.indexOf("sample")]) frame = 0;
  images = Object.fromEntries(kinds.map((kind, number) => [kind, found[number]]));
  fit();
  paint();
}

function paint() {
  const { columns, height, width } = shape;
  const [x, y] = [(frame % columns) * width, Math.floor(frame / columns) * height];
  for (const [id, image] of Object.entries(images)) {
    const canvas = get(id);
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
    }
    canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
  }
  get("scrub").value = frame;
  get("scrub").setAttribute("aria-valuetext", `frame ${frame + 1} of ${shape.frames}`);
  get("frame").textContent = `${frame + 1} / ${shape.frames}`;
}

function fit() { // three side by side; on a narrow page the sample alone, until there are three
  const room = get("pictures").clientWidth;
  const across = room < NARROW ? Object.keys(images).length : 3;
  const gap = 14;
  const wide = Math.min((room - gap * (across - 1)) / across, WIDEST) / shape.width;
  const factor = Math.min(wide, innerHeight * HIGHEST / shape.height);
  const scale = zoom * (factor > 1 ? Math.max(1, Math.floor(factor * devicePixelRatio)
    / devicePixelRatio) : factor);
  for (const id of Object.keys(images)) {
    get(id).style.width = `${Math.round(shape.width * scale)}px`;
    get(id).style.height = `${Math.round(shape.height * scale)}px`;
  }
  get("zoom").textContent = `${Math.round(100 * zoom)} %`;
  get("smaller").disabled = zoom === STEPS[0];
  get("larger").disabled = zoom === STEPS.at(-1);
}

export function enlarge(step) {
  const at = STEPS.indexOf(zoom) + step;
  zoom = STEPS[Math.max(0, Math.min(STEPS.length - 1, at))];
  fit();
}

export function turn(step) { // to the next frame, which stops the clip
  if (shape.frames === 1) return;
  playing = false;
  showPlaying();
  frame = (frame + step + shape.frames) % shape.frames;
  paint();
}

export function play() {
  if (shape.frames === 1) return;
  playing = !playing;
  showPlaying();
}

function showPlaying() {
  get("play").firstChild.data = playing ? "Pause " : "Play ";
}

setInterval(() => {
  if (!playing || !shape || shape.frames === 1 || !images.sample) return;
  frame = (frame + 1) % shape.frames;
  paint();
}, DELAY);

get("scrub").addEventListener("input", () => turn(Number(get("scrub").value) - frame));
get("play").addEventListener("click", play);
get("smaller").addEventListener("click", () => enlarge(-1));
get("larger").addEventListener("click", () => enlarge(1));
addEventListener("resize", () => { if (shape) fit(); });
