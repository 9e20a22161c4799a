"""What the model calls each region, from a crop of it alone."""

import pyarrow as pa
from PIL import Image

from resources.models.vlms import Answer
from vistag_assets.folder_asset import Batch, Folder, Proxies, Rows, folder_asset, in_batches
from vistag_assets.language.image_context import regions_by_id
from vistag_assets.lineage import answered, derived, joined
from vistag_assets.regions.boxes import Box, distinct_boxes
from vistag_assets.whole_image.asking import IMAGES_AT_ONCE, about_vlm, failed_of, figures_of, preview_texts

MIN_CROP_PX = 16


_shown = preview_texts("region_captions", "region_id", "caption")


@folder_asset(
    "Captioning regions",
    "captioned by region",
    role="vlm",
    version=1,
    preview=_shown,
    about=about_vlm("region"),
)
def region_captions(folder: Folder, grounded_regions: pa.Table, proxies: Proxies) -> Rows:
    """A place is looked at once, however many regions it is; no rows where the model cannot tell what a crop shows."""
    vlm, regions, open_image = folder.workspace.vlm, regions_by_id(grounded_regions), folder.opener(proxies)
    most, question = vlm.spec.caption_tokens, vlm.spec.question("region")
    wanted = derived(
        joined(answered(grounded_regions), proxies),
        vlm=vlm.fingerprint,
        prompt=question.prompt if question else False,
        tokens=most,
        version=folder.version,
    )

    def caption(ids: list[str]) -> Batch:
        if question is None:
            return Batch(ids, [])
        places = [(id_, group) for id_ in ids for group in distinct_boxes(regions.get(id_, ()))]
        images = {id_: open_image(id_) for id_ in ids if id_ in regions}
        crops = [crop(images[id_], group[0].box) for id_, group in places]
        answers = vlm.answer(crops, [question.prompt] * len(crops), max_tokens=most)
        failed = failed_of([id_ for id_, _ in places], answers)
        rows = [
            {"id": id_, "region_id": region.region_id, "caption": answer.text, **figures_of(answer)}
            for (id_, group), answer in zip(places, answers, strict=True)
            if isinstance(answer, Answer) and id_ not in failed
            for region in group
        ]
        return Batch(ids, rows, failed)

    return Rows(wanted, in_batches(IMAGES_AT_ONCE, caption, vlm.spec.batches_at_once))


def crop(image: Image.Image, box: Box) -> Image.Image:
    """What a relative box shows, at least MIN_CROP_PX a side where the image has them."""
    left, right = _span(box[0], box[2], image.width)
    top, bottom = _span(box[1], box[3], image.height)
    return image.crop((left, top, right, bottom))


def _span(start: float, length: float, pixels: int) -> tuple[int, int]:
    """First and last (exclusive) pixel of a relative span, grown around its middle to MIN_CROP_PX."""
    missing = max(0.0, min(MIN_CROP_PX, pixels) - length * pixels) / 2
    first = min(max(int(start * pixels - missing), 0), max(pixels - MIN_CROP_PX, 0))
    last = max(round((start + length) * pixels + missing), first + min(MIN_CROP_PX, pixels))
    return first, min(last, pixels)
