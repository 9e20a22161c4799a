import { chooseConcept, onKey } from "/static/app.js";

const tag = document.getElementById("tag"), id = document.getElementById("tag-id");
if (tag) { // the page of the search has none
  chooseConcept(tag, document.getElementById("concepts"), (concept) => { id.value = concept.id; tag.form.submit(); });
  tag.addEventListener("input", () => { if (!tag.value.trim()) id.value = ""; });
  for (const name of ["folder", "review"]) tag.form.elements[name].addEventListener("change", () => tag.form.submit());
}

const tiles = [...document.querySelectorAll(".tile")];
onKey((key) => {
  const step = { j: 1, k: -1 }[key], page = { n: "next", p: "prev" }[key];
  if (step) tiles[Math.min(tiles.length - 1, Math.max(0, tiles.indexOf(document.activeElement) + step))]?.focus();
  else if (page) document.querySelector(`a[rel=${page}]`)?.click();
  else return false;
  return true;
});
