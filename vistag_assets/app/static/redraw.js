// A box that a person draws, with Annotorious, over the whole picture.
const dialog = document.getElementById("redraw"), picture = document.getElementById("redraw-picture");
const keep = document.getElementById("redraw-keep");
let done = null, drawn = null, annotator = null;

const close = (box) => {
  annotator?.destroy();
  annotator = null;
  dialog.close();
  done?.(box);
  done = null;
};
keep.addEventListener("click", () => close(drawn));
document.getElementById("redraw-leave").addEventListener("click", () => close(null));
dialog.addEventListener("cancel", (event) => { event.preventDefault(); close(null); });
dialog.addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Enter" && drawn) { event.preventDefault(); close(drawn); }
});

// x, y, width, height of 0..1, or null. `box`: the one that there is, to be moved.
export const drawBox = async (source, label, box) => {
  document.getElementById("redraw-of").textContent = `Draw the box of ${label}`;
  drawn = null;
  keep.disabled = true;
  picture.src = source;
  await picture.decode();
  dialog.showModal();
  const { naturalWidth: width, naturalHeight: height } = picture;
  annotator = Annotorious.createImageAnnotator(picture, { drawingEnabled: true, autoSave: true });
  annotator.setDrawingTool("rectangle");
  const take = (annotation) => {
    const { x, y, w, h } = annotation.target.selector.geometry;
    const inside = (value) => Math.min(1, Math.max(0, value));
    const left = inside(x / width), top = inside(y / height);
    drawn = [left, top, inside((x + w) / width) - left, inside((y + h) / height) - top];
    keep.disabled = !(drawn[2] > 0 && drawn[3] > 0);
    if (keep.disabled) drawn = null;
  };
  annotator.on("createAnnotation", (annotation) => {
    for (const other of annotator.getAnnotations()) if (other.id !== annotation.id) annotator.removeAnnotation(other);
    take(annotation);
    keep.focus({ preventScroll: true });
  });
  annotator.on("updateAnnotation", take);
  if (box) {
    const [x, y, w, h] = [box[0] * width, box[1] * height, box[2] * width, box[3] * height];
    const bounds = { minX: x, minY: y, maxX: x + w, maxY: y + h };
    annotator.addAnnotation({ id: "before", bodies: [], target: { annotation: "before", selector: { type: "RECTANGLE", geometry: { x, y, w, h, bounds } } } });
  }
  return new Promise((resolve) => { done = resolve; });
};
