"use strict";
// One choice at a time: what to show comes from the server, and the next one only when the last is on its disk.

const SETTLE = 350; // ms in which a new pair takes no choice, so that the second half of a double click is none
const at = (id) => document.getElementById(id);
const shown = { turn: null, since: Infinity, busy: false };
let retry = null;

function show(name) {
  for (const id of ["start", "asking", "end"]) at(id).hidden = id !== name;
}

async function ask(method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const reply = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const said = await reply.json().catch(() => ({}));
  if (!reply.ok) throw Object.assign(new Error(said.detail || reply.statusText), { status: reply.status });
  return said;
}

async function attempt(work) {
  shown.busy = true;
  at("choices").setAttribute("aria-busy", "true");
  try {
    await work();
    at("trouble").hidden = true;
  } catch (error) {
    const offline = error instanceof TypeError;
    at("what").textContent = offline ? "The server cannot be reached: nothing is lost." : `This did not work: ${error.message}.`;
    retry = work;
    at("trouble").hidden = false;
  } finally {
    shown.busy = false;
    at("choices").setAttribute("aria-busy", String(Boolean(retry)));
  }
}

function loaded(image, url) {
  image.src = url;
  return image.decode().catch(() => { throw new Error("a picture did not load"); });
}

async function render(state) {
  retry = null;
  if (!state.turn) {
    shown.turn = null;
    at("made").textContent = `You made ${state.done} choices.`;
    show("end");
    at("end").querySelector("h1").focus();
    return;
  }
  const turn = state.turn;
  const photos = turn.source ? [turn.source] : turn.references;
  const images = photos.map(() => document.createElement("img"));
  images.forEach((image, i) => { image.alt = turn.source ? "The input picture" : `Target picture ${i + 1}`; });
  const pair = { left: new Image(), right: new Image() };
  await Promise.all([
    loaded(pair.left, turn.left), loaded(pair.right, turn.right), ...images.map((image, i) => loaded(image, photos[i])),
  ]);
  at("question").textContent = turn.question;
  at("prompt").hidden = turn.prompt === null;
  at("prompt").textContent = turn.prompt;
  at("exhibits").hidden = photos.length === 0;
  at("exhibits-title").textContent = turn.source ? "The input picture" : "Target pictures";
  at("photos").replaceChildren(...images);
  for (const side of ["left", "right"]) {
    at(side).classList.remove("chosen");
    at(side).querySelector("img").src = pair[side].src;
  }
  at("bar").max = state.total;
  at("bar").value = state.done;
  at("count").textContent = `Question ${state.done + 1} of ${state.total}`;
  show("asking");
  at("question").focus({ preventScroll: true });
  shown.turn = turn.id;
  shown.since = performance.now();
}

function choose(side) {
  if (shown.busy || !shown.turn || at("asking").hidden || performance.now() - shown.since < SETTLE) return;
  const turn = shown.turn;
  at(side).classList.add("chosen");
  attempt(async () => render(await ask("POST", "/answers", { turn, side })));
}

for (const side of ["left", "right"]) {
  at(side).addEventListener("click", (event) => { if (event.detail < 2) choose(side); });
}
addEventListener("keydown", (event) => {
  const side = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right" }[event.key];
  if (!side || event.repeat || event.ctrlKey || event.metaKey || event.altKey || at("asking").hidden) return;
  event.preventDefault();
  choose(side);
});
at("begin").addEventListener("click", () => attempt(async () => render(await ask("POST", "/session"))));
at("again").addEventListener("click", () => retry && attempt(retry));

attempt(async () => {
  try {
    await render(await ask("GET", "/state"));
  } catch (error) {
    if (error.status !== 401) throw error;
    show("start");
  }
});
