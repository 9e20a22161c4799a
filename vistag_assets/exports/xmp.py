"""XMP sidecars: keywords, texts and regions, merged into what people and their programs wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from resources.lake.files import path_below
from resources.object_store import location
from vistag_assets.exports.formats import OriginalsOptions, XmpOptions
from vistag_assets.exports.job import ExportError, Job
from vistag_assets.exports.records import ImageRecord, file_name
from vistag_assets.exports.sidecar import MalformedSidecar, Sidecar, boundary

NAMINGS = ("full", "stem")


def write(job: Job) -> None:
    options: XmpOptions = job.options  # type: ignore[assignment]
    if options.naming not in NAMINGS:
        raise ExportError(f"naming is {options.naming!r}: give one of {', '.join(NAMINGS)}")
    for folder in job.changed_folders():
        stems = _stems(job.workspace.lake.read("images", folder.folder.key, ["path"])["path"].to_pylist())
        root = location(folder.folder.root)
        for image in job.images_of(folder):
            for path in (image.path, *image.also_at):
                name = file_name(path)
                library = "" if options.beside else f"{image.library}/"
                try:
                    placed, before = _existing(job, root, library, name, _names(name, stems, options.naming))
                    sidecar = Sidecar(before)
                    fill(sidecar, image, options, job.workspace.tier.name)
                    job.put(placed, sidecar.to_bytes())
                except MalformedSidecar as error:
                    job.fail(f"{library}{name}", error)
                except OSError as error:
                    job.fail(f"{library}{name}", error)


def fill(sidecar: Sidecar, image: ImageRecord, options: XmpOptions | OriginalsOptions, tier: str) -> None:
    """Keywords in all the properties that programs read them from, so that none of them drops some."""
    paths = [path for tag in image.tags for path in tag.paths]
    sidecar.set_keywords("dc:subject", "Bag", [tag.label for tag in image.tags])
    sidecar.set_keywords("lr:hierarchicalSubject", "Bag", [_joined(path, "|", "¦") for path in paths])
    slashed = [_joined(path, "/", "∕") for path in paths]
    sidecar.set_keywords("digiKam:TagsList", "Seq", slashed)
    sidecar.set_keywords("MicrosoftPhoto:LastKeywordXMP", "Bag", slashed)
    if options.texts:
        sidecar.set_text("dc:title", image.title)
        sidecar.set_text("photoshop:Headline", image.title, languages=False)
        sidecar.set_text("dc:description", image.description or image.caption)
        sidecar.set_text("Iptc4xmpCore:AltTextAccessibility", image.caption)
        sidecar.set_text("Iptc4xmpCore:ExtDescrAccessibility", image.description)
    if options.regions:
        sidecar.set_regions([found for region in image.regions if (found := boundary(region))])
    sidecar.sign(f"vistag, tier {tier}")


def _joined(path: Sequence[str], separator: str, instead: str) -> str:
    """A label that holds the separator would be read as two levels: a look-alike stands in for it."""
    return separator.join(label.replace(separator, instead) for label in path)


def _stems(paths: Sequence[str]) -> Counter[str]:
    return Counter(str(PurePosixPath(file_name(path)).with_suffix("")) for path in paths)


def _names(name: str, stems: Counter[str], naming: str) -> list[str]:
    """The names that the sidecar of a file may have, that to be made first. img.xmp is nobody's where two share img."""
    full, stem = f"{name}.xmp", f"{PurePosixPath(name).with_suffix('')}.xmp"
    if stems[stem.removesuffix(".xmp")] > 1:
        return [full]
    return [full, stem] if naming == "full" else [stem, full]


def _existing(
    job: Job, root: object, library: str, name: str, names: Sequence[str]
) -> tuple[str, bytes | None]:
    """Where the sidecar is to be, and what stands there or, for a new one of a mirror, in the library."""
    for candidate in names:
        if (path := path_below(job.to, f"{library}{candidate}")).is_file():
            return f"{library}{candidate}", path.read_bytes()
    if library:
        for candidate in names:
            if (beside := root / candidate).is_file():  # type: ignore[operator]
                return f"{library}{candidate}", beside.read_bytes()
    return f"{library}{names[0]}", None
