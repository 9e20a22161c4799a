import { askWho, data, decide, onKey, tell, undo } from "/static/app.js";
import { drawBox } from "/static/redraw.js";

const picture = data();
const frame = document.getElementById("viewer"), shapes = document.getElementById("shapes");
const width = Number(frame.dataset.width), height = Number(frame.dataset.height);
const viewer = OpenSeadragon({
  element: frame, showNavigationControl: false, drawer: "canvas", maxZoomPixelRatio: 6, visibilityRatio: 0.6,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, animationTime: 0.3,
  tileSources: { type: "image", url: frame.dataset.picture },
});
viewer.addOverlay({ element: shapes, location: new OpenSeadragon.Rect(0, 0, 1, height / width) });
viewer.innerTracker.keyHandler = null;
viewer.innerTracker.keyDownHandler = null;
viewer.addHandler("open", () => { document.body.dataset.open = "yes"; });

// ---- light: what cites a region lights it, and the other way round
const citing = [...document.querySelectorAll("[data-regions]")], groups = [...shapes.querySelectorAll("[data-region]")];
const light = (ids) => {
  const wanted = new Set(ids);
  for (const group of groups) group.classList.toggle("lit", wanted.has(group.dataset.region));
  for (const element of citing) element.classList.toggle("lit", element.dataset.regions.split(" ").some((id) => wanted.has(id)));
  document.body.classList.toggle("busy", wanted.size > 0);
};
const names = (ids) => ids.map((id) => document.querySelector(`.regions [data-regions="${CSS.escape(id)}"]`)?.textContent.trim()).filter(Boolean).join(", ");
const told = document.querySelector(".told");
for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  told.addEventListener(on, (event) => { const element = event.target.closest("[data-regions]"); if (element) light(element.dataset.regions.split(" ")); });
  told.addEventListener(off, (event) => { if (event.target.closest("[data-regions]")) light([]); });
}
told.addEventListener("click", (event) => {
  const element = event.target.closest(".claim[data-regions], .regions [data-regions]");
  if (element) show(element.dataset.regions.split(" ")[0]);
});
const boxOf = (id) => shapes.querySelector(`[data-region="${CSS.escape(id)}"]`)?.dataset.box.split(" ").map(Number);
const show = (id) => {
  const box = boxOf(id), ratio = height / width;
  if (box) viewer.viewport.fitBounds(new OpenSeadragon.Rect(box[0] - 0.1, (box[1] - 0.1) * ratio, box[2] + 0.2, (box[3] + 0.2) * ratio));
};
frame.addEventListener("pointermove", (event) => {
  if (!viewer.viewport) return;
  const edge = frame.getBoundingClientRect();
  const at = viewer.viewport.pointFromPixel(new OpenSeadragon.Point(event.clientX - edge.left, event.clientY - edge.top));
  const x = at.x, y = at.y * width / height;
  const under = groups.filter((group) => {
    const [left, top, w, h] = group.dataset.box.split(" ").map(Number);
    return x >= left && y >= top && x <= left + w && y <= top + h;
  }).map((group) => group.dataset.region);
  light(under);
  document.getElementById("pointed").textContent = names(under);
});
frame.addEventListener("pointerleave", () => { light([]); document.getElementById("pointed").textContent = ""; });

// ---- layers
for (const name of ["boxes", "masks"]) {
  const box = document.getElementById(name);
  box.checked = localStorage.getItem(name) === "yes";
  const apply = () => { document.body.classList.toggle(name, box.checked); localStorage.setItem(name, box.checked ? "yes" : ""); };
  box.addEventListener("change", apply);
  apply();
}
const opacity = document.getElementById("opacity");
opacity.addEventListener("input", () => document.body.style.setProperty("--opacity", opacity.value));
document.getElementById("whole").addEventListener("click", () => viewer.viewport.goHome());

// ---- scores
const open = async (button) => {
  const is_open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!is_open));
  const scores = document.getElementById(button.getAttribute("aria-controls"));
  scores.hidden = is_open;
  const place = scores.querySelector("[data-neighbours]");
  if (is_open || !place || place.textContent) return;
  const answer = await fetch(`/api/neighbours/${encodeURIComponent(picture.folder)}/${picture.image_id}?concept_id=${encodeURIComponent(place.dataset.neighbours)}`);
  if (!answer.ok) return;
  const { pictures, carry } = await answer.json();
  place.textContent = pictures ? `Of the ${pictures} pictures most like this one, ${carry} carry it.` : "";
};

// ---- decisions
const tags = [...document.querySelectorAll("li.tag")];
const STATES = { accept: "human", redraw: "human", reject: "rejected" }, WORDS = { machine: "machine", human: "person", rejected: "rejected" };
const done = [];
const setState = (tag, state) => {
  tag.dataset.state = state;
  const badge = tag.querySelector(".state");
  badge.className = `state ${state}`;
  badge.textContent = WORDS[state];
};
const say = (tag, verdict, more = {}) => {
  if (!askWho()) return;
  const before = tag.dataset.state, { concept_id, phrase, shown, region_id } = JSON.parse(tag.dataset.subject);
  const decided = decide({ ...picture, concept_id, phrase, shown, region_id, verdict, ...more });
  done.push({ tag, before, decided });
  setState(tag, STATES[verdict]);
  tell(`${phrase}: ${verdict}`);
};
const redraw = async (tag) => {
  if (!askWho()) return;
  const { region_id, phrase } = JSON.parse(tag.dataset.subject);
  const box = await drawBox(frame.dataset.picture, phrase, region_id && boxOf(region_id));
  tag.querySelector(".open").focus();
  if (box) say(tag, "redraw", { box });
};
const takeBack = () => {
  const last = done.pop();
  if (!last) return tell("There is nothing to take back on this page.");
  undo(last.decided, picture);
  setState(last.tag, last.before);
  tell("Taken back.");
};
const act = (tag, verdict) => (verdict === "redraw" ? redraw(tag) : say(tag, verdict));
told.addEventListener("click", (event) => {
  const button = event.target.closest("button"), tag = button?.closest("li.tag");
  if (!tag) return;
  if (button.dataset.verdict) act(tag, button.dataset.verdict);
  else if (button.classList.contains("open")) open(button);
});

onKey((key) => {
  const tag = document.activeElement.closest?.("li.tag");
  const step = { j: 1, k: -1 }[key], verdict = { a: "accept", x: "reject", r: "redraw" }[key];
  if (step) {
    const at = tag ? tags.indexOf(tag) + step : 0;
    tags[Math.min(tags.length - 1, Math.max(0, at))]?.querySelector(".open").focus();
  } else if (verdict && tag) act(tag, verdict);
  else if (verdict) tell("Choose a tag first: J and K go through them.");
  else if (key === "u") takeBack();
  else if (key === "b" || key === "m") document.getElementById(key === "b" ? "boxes" : "masks").click();
  else if (key === "0") viewer.viewport.goHome();
  else if (key === "ArrowRight") document.getElementById("after")?.click();
  else if (key === "ArrowLeft") document.getElementById("before")?.click();
  else if (key === "Escape") document.getElementById("back").click();
  else return false;
  return true;
});
