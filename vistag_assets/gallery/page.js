"use strict";
{
  const cards = [...document.querySelectorAll(".card")];

  // Light the regions that an element cites, and their names on the picture.
  const light = (element) => {
    const card = element.closest(".card");
    const wanted = new Set(element.dataset.regions.split(" "));
    for (const shape of card.querySelectorAll("[data-region]")) {
      shape.classList.toggle("lit", wanted.has(shape.dataset.region));
    }
    card.classList.add("busy");
    stackTips(card);
  };
  const dark = (card) => {
    for (const lit of card.querySelectorAll(".lit")) lit.classList.remove("lit");
    card.classList.remove("busy");
  };

  // Names of regions on one spot go above each other; where the upper edge is near, below, inside the picture.
  const stackTips = (card) => {
    const taken = [];
    for (const tip of card.querySelectorAll(".tip.lit")) {
      tip.style.marginLeft = tip.style.marginTop = "";
      tip.classList.toggle("low", tip.offsetTop < tip.offsetHeight);
      const frame = tip.parentElement.getBoundingClientRect();
      let place = tip.getBoundingClientRect();
      const over = place.right - frame.right;
      if (over > 0) tip.style.marginLeft = `${-over}px`;
      const hit = () => taken.find((t) => t.left < place.right && place.left < t.right && t.top < place.bottom - 1 && place.top < t.bottom - 1);
      place = tip.getBoundingClientRect();
      let shift = 0, up = !tip.classList.contains("low");
      for (let other = hit(); other; other = hit()) {
        shift += up ? other.top - place.bottom : other.bottom - place.top;
        if (up && place.top + other.top - place.bottom < frame.top) { up = false; shift = 0; }
        tip.style.marginTop = `${shift}px`;
        place = tip.getBoundingClientRect();
        if (!up && shift > frame.height) break;
      }
      taken.push(place);
    }
  };

  // A box under the pointer lights what cites it.
  const pointAt = (card, event) => {
    const frame = card.querySelector(".picture").getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width, y = (event.clientY - frame.top) / frame.height;
    const under = new Set();
    for (const group of card.querySelectorAll("g[data-region]")) {
      const box = group.querySelector("rect"), at = (name) => box[name].baseVal.value;
      if (x >= at("x") && y >= at("y") && x <= at("x") + at("width") && y <= at("y") + at("height")) under.add(group.dataset.region);
    }
    dark(card);
    if (!under.size) return;
    for (const citing of card.querySelectorAll("[data-regions]")) {
      citing.classList.toggle("lit", citing.dataset.regions.split(" ").some((id) => under.has(id)));
    }
    for (const shape of card.querySelectorAll("[data-region]")) shape.classList.toggle("lit", under.has(shape.dataset.region));
    card.classList.add("busy");
    stackTips(card);
  };

  const toggle = (button) => {
    const open = button.getAttribute("aria-expanded") === "true";
    for (const other of button.closest(".card").querySelectorAll(".tag[aria-expanded=true]")) {
      other.setAttribute("aria-expanded", "false");
      document.getElementById(other.getAttribute("aria-controls")).hidden = true;
    }
    button.setAttribute("aria-expanded", String(!open));
    document.getElementById(button.getAttribute("aria-controls")).hidden = open;
  };

  for (const card of cards) {
    for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
      card.addEventListener(on, (event) => {
        const citing = event.target.closest("[data-regions]");
        if (citing) light(citing);
      });
      card.addEventListener(off, (event) => { if (event.target.closest("[data-regions]")) dark(card); });
    }
    const picture = card.querySelector(".picture");
    picture.addEventListener("pointermove", (event) => pointAt(card, event));
    picture.addEventListener("pointerleave", () => dark(card));
    card.addEventListener("click", (event) => {
      const button = event.target.closest(".tag");
      if (button) toggle(button);
    });
  }

  const find = document.getElementById("find");
  const only = ["review", "heavy", "flagged"].map((name) => [name, document.getElementById(name)]).filter(([, box]) => box);
  const texts = cards.map((card) => `${card.getAttribute("aria-label")} ${card.querySelector(".text").textContent}`.toLowerCase());
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    cards.forEach((card, n) => {
      card.hidden = !(words.every((word) => texts[n].includes(word)) && only.every(([name, box]) => !box.checked || name in card.dataset));
      shown += !card.hidden;
    });
    document.getElementById("count").textContent = shown === cards.length ? "" : `${shown} of ${cards.length}`;
  };
  for (const control of [find, ...only.map(([, box]) => box)]) control.addEventListener("input", filter);
  document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
  filter(); // a browser may bring the controls back as they were

  addEventListener("keydown", (event) => {
    if (event.target === find || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { j: 1, k: -1 }[event.key];
    if (!step) return;
    const shown = cards.filter((card) => !card.hidden);
    const here = shown.indexOf(document.activeElement.closest(".card"));
    const next = shown[Math.min(shown.length - 1, Math.max(0, here + step))];
    if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "start" }); }
  });
}
