import { allSaved, askWho, chooseConcept, decide, onKey, reviewer, tell, undo } from "/static/app.js";
import { drawBox } from "/static/redraw.js";

const id = (name) => document.getElementById(name);
const crops = id("crops"), which = id("which"), least = id("least");
const STATES = { accept: "accepted", redraw: "accepted", reject: "rejected", correct: "corrected", skip: "skipped" };
const REASONS = { boundary: "near the line", no_positive: "nobody has confirmed one yet", neighbour: "looks like a confirmed one", uniform: "drawn by chance", second_opinion: "second opinion" };
let pairs = [], tiles = [], at = 0, loading = false, done = [], count = 0, began = null, label = "";

const pictureOf = (pair, side) => `/picture/${encodeURIComponent(pair.folder)}/${pair.image_id}${side ? `?side=${side}` : ""}`;
const cropOf = (pair) => {
  if (!pair.box) return pictureOf(pair, 320);
  const [x, y, w, h] = pair.box.map((value) => Math.min(1, Math.max(0, value)));
  return `/crop/${encodeURIComponent(pair.folder)}/${pair.image_id}?x=${x}&y=${y}&w=${w}&h=${h}&side=320`;
};
const percent = (share) => (share === null ? "" : `${Math.round(100 * share)} %`);
const shown = (n) => (pairs[n].probability ?? 0) >= Number(least.value);
const open = () => pairs.map((_, n) => n).filter((n) => !tiles[n].dataset.state && shown(n));

// ---- a batch
const load = async () => {
  if (loading || !askWho()) return;
  loading = true;
  crops.setAttribute("aria-busy", "true");
  await allSaved(); // or what was just decided would come again
  try {
    const asked = { reviewer: reviewer(), concept_id: which.value || null, second_opinion: id("second").checked };
    const answer = await fetch("/api/review/next", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked) });
    const batch = await answer.json();
    if (!answer.ok) return nothing(batch.detail);
    if (!batch.concept) return nothing("Nothing is left to look at.");
    pairs = batch.pairs;
    done = [];
    label = batch.concept.label;
    id("concept").textContent = label;
    id("definition").textContent = `${batch.concept.definition} · ${batch.concept.waiting} wait`;
    tiles = pairs.map(tile);
    crops.replaceChildren(...tiles);
    filter();
    go(open()[0] ?? 0);
  } catch (error) {
    nothing(`The server does not answer: ${error.message}`);
  } finally {
    loading = false;
    crops.removeAttribute("aria-busy");
  }
};
const nothing = (sentence) => {
  [pairs, tiles] = [[], []];
  crops.replaceChildren();
  id("concept").textContent = "…";
  id("definition").textContent = "";
  const line = document.createElement("li");
  line.className = "nothing";
  line.textContent = sentence;
  crops.append(line);
};
const tile = (pair, n) => {
  const item = document.createElement("li"), button = document.createElement("button"), image = document.createElement("img"), words = document.createElement("span");
  image.src = cropOf(pair);
  image.alt = pair.path || pair.image_id;
  words.textContent = percent(pair.probability);
  button.type = "button";
  button.append(image, words);
  button.addEventListener("focus", () => look(n));
  item.append(button);
  return item;
};
const caption = (n) => {
  tiles[n].querySelector("span").textContent = [percent(pairs[n].probability), tiles[n].dataset.state].filter(Boolean).join(" · ");
};
const go = (n) => tiles[n]?.firstChild.focus();
const look = (n) => {
  at = n;
  const pair = pairs[n], box = id("whole-box"), picture = id("whole-picture");
  picture.src = pictureOf(pair);
  picture.alt = pair.path || "";
  box.hidden = !pair.box;
  if (pair.box) ["left", "top", "width", "height"].forEach((side, k) => { box.style[side] = `${100 * pair.box[k]}%`; });
  id("about").textContent = [pair.path, percent(pair.probability), REASONS[pair.reason]].filter(Boolean).join(" · ");
};
const filter = () => {
  id("least-told").textContent = percent(Number(least.value));
  tiles.forEach((item, n) => { item.hidden = !shown(n); });
};

// ---- decisions
const say = (n, verdict, more = {}) => {
  const { folder, image_id, concept_id, region_id, shown: row } = pairs[n];
  done.push({ n, decided: decide({ folder, image_id, concept_id, region_id, shown: row, verdict, ...more }), words: null });
  tiles[n].dataset.state = STATES[verdict];
  caption(n);
  began ??= Date.now();
  count += 1;
  showSpeed();
};
// Words that the vocabulary has no concept for stand beside what was rejected for them; words that were looked for in vain
// before a concept was chosen are kept beside that: vistag taxonomy learn proposes both as labels.
const correct = (n, chosen) => {
  const { folder, image_id, region_id } = pairs[n], words = chosen.words || chosen.missed;
  say(n, chosen.words ? "reject" : "correct", chosen.words ? {} : { corrected_to: chosen.id });
  if (!words) return;
  const last = done.at(-1), about = { folder, image_id, region_id, concept_id: null, phrase: words };
  last.words = chosen.words
    ? decide({ ...about, verdict: "accept" }, `${last.decided.client_id}~words`)
    : decide({ ...about, verdict: "skip", corrected_to: chosen.id });
};
const showSpeed = () => {
  const minutes = Math.max(1 / 6, (Date.now() - began) / 60000);
  const found = done.filter(({ n }) => tiles[n].dataset.state === "accepted").length;
  id("speed").textContent = `${count} decisions, ${Math.round(count / minutes)} a minute; ${found} of this concept confirmed`;
};
const advance = () => {
  const left = open();
  if (left.length) go(left.find((n) => n > at) ?? left[0]);
  else load();
};
const act = async (verdict) => {
  if (!pairs.length || !askWho()) return;
  const n = at;
  if (verdict === "redraw") {
    const box = await drawBox(pictureOf(pairs[n]), label, pairs[n].box);
    if (!box) return go(n);
    say(n, "redraw", { box });
  } else if (verdict === "correct") {
    const concept = await choose();
    if (!concept) return go(n);
    correct(n, concept);
  } else {
    say(n, verdict);
  }
  advance();
};
const takeBack = () => {
  const last = done.pop();
  if (!last) return tell("There is nothing to take back in this batch.");
  const { folder, image_id } = pairs[last.n];
  // each undo names what it is about, as the log wants it
  for (const decided of [last.words, last.decided]) if (decided) undo(decided, { folder, image_id });
  delete tiles[last.n].dataset.state;
  caption(last.n);
  count -= 1;
  showSpeed();
  go(last.n);
};
const acceptAll = () => {
  if (!askWho()) return;
  for (const n of open()) say(n, "accept");
  advance();
};

// ---- correcting
const dialog = id("correct"), instead = id("instead");
let chosen = null;
const choose = () => {
  instead.value = "";
  dialog.showModal();
  instead.focus();
  return new Promise((resolve) => { chosen = resolve; });
};
const leave = (concept) => { dialog.close(); chosen?.(concept); chosen = null; };
chooseConcept(instead, id("concepts"), leave, { words: true });
id("correct-leave").addEventListener("click", () => leave(null));
dialog.addEventListener("cancel", (event) => { event.preventDefault(); leave(null); });

// ---- keys and buttons
const columns = () => {
  const tops = tiles.filter((item) => !item.hidden).map((item) => item.offsetTop);
  return tops.filter((top) => top === tops[0]).length || 1;
};
const step = (by) => {
  const visible = pairs.map((_, n) => n).filter(shown), here = visible.indexOf(at);
  go(visible[Math.min(visible.length - 1, Math.max(0, here + by))]);
};
onKey((key, event) => {
  const verdict = { a: "accept", y: "accept", x: "reject", s: "skip", c: "correct", r: "redraw" }[key];
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[key];
  if (key === "a" && event.shiftKey) acceptAll();
  else if (verdict) act(verdict);
  else if (by) step(by);
  else if (key === "u") takeBack();
  else if (key === "n") load();
  else if (key === "o" && pairs.length) window.open(`/image/${encodeURIComponent(pairs[at].folder)}/${pairs[at].image_id}`);
  else return false;
  return true;
});
for (const button of document.querySelectorAll("[data-verdict]")) button.addEventListener("click", () => act(button.dataset.verdict));
id("undo").addEventListener("click", takeBack);
id("all").addEventListener("click", acceptAll);
least.addEventListener("input", filter);
id("choices").addEventListener("submit", (event) => event.preventDefault());
for (const control of [which, id("second")]) control.addEventListener("change", load);
id("reviewer").addEventListener("change", load);
// whoever leaves lets others have the rest
addEventListener("pagehide", () => {
  const body = new Blob([JSON.stringify({ reviewer: reviewer() })], { type: "application/json" });
  if (reviewer()) navigator.sendBeacon("/api/review/back", body);
});

const start = async () => {
  const answer = await fetch("/api/review/concepts");
  if (!answer.ok) return nothing((await answer.json()).detail);
  for (const concept of await answer.json()) which.add(new Option(`${concept.label} (${concept.waiting})`, concept.id));
  if (!reviewer()) nothing("Say who you are first, above: the name stands beside each decision.");
  load();
};
start();
