"""Which of several blocks is believed: the rules of the Metadata Working Group (Guidelines 2.0, chapter 5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resources.images.metadata.described import Described
from resources.images.metadata.iim import LIMITS
from resources.images.metadata.properties import Said
from resources.images.metadata.xmp import UnreadableXmp, read_xmp

BY_VISTAG = "sidecar_by_vistag"
UNREADABLE_SIDECAR = "sidecar_unreadable"


def reconciled(exif: Said | None, iim: Said | None, xmp: Said | None, iim_is_newer: bool) -> Described:
    """One description of what the blocks of a file say.

    Exif comes first for what it has. Then IIM, where a program that knows no XMP has changed it since (`iim_is_newer`:
    its digest is another) or XMP says nothing; else XMP.
    """
    exif, iim, xmp = exif or Said(), iim or Said(), xmp or Said()
    own = {word.casefold() for word in xmp.own_keywords}
    # what vistag mirrored there, cut as IIM cuts it
    own |= {_cut(word, LIMITS["keywords"]).casefold() for word in xmp.own_keywords}
    iim.keywords = tuple(keyword for keyword in iim.keywords if keyword.casefold() not in own)
    for text in ("title", "description"):
        if any(getattr(iim, text) == _cut(mine, LIMITS[text]) for mine in xmp.own_texts):
            setattr(iim, text, "")
    if exif.description in xmp.own_texts:
        exif.description = ""

    def chosen(name: str) -> Any:
        if of_exif := getattr(exif, name):
            return of_exif
        old, new = getattr(iim, name), getattr(xmp, name)
        if not old or (new and not iim_is_newer):
            return new
        return _whole(old, new, LIMITS[name]) if name in LIMITS else old

    return Described(
        keywords=tuple(dict.fromkeys(chosen("keywords"))),
        keyword_paths=xmp.keyword_paths,
        title=chosen("title") or None,
        description=chosen("description") or None,
        creators=tuple(dict.fromkeys(chosen("creators"))),
        rating=xmp.rating,
        latitude=_either(exif.latitude, xmp.latitude),
        longitude=_either(exif.longitude, xmp.longitude),
        dated=chosen("dated"),
    )


def _either(first: float | None, second: float | None) -> float | None:
    return second if first is None else first


def _whole(old: Any, new: Any, limit: int) -> Any:
    """Texts of IIM that were cut at its limit, whole where XMP has them."""
    if isinstance(old, str):
        return _whole((old,), (new,) if new else (), limit)[0]
    uncut = {_cut(text, limit): text for text in new if len(text.encode()) > limit}
    return tuple(uncut.get(text, text) for text in old)


def _cut(text: str, limit: int) -> str:
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def read_sidecar(content: bytes) -> Described:
    """What people wrote into a sidecar; never raises for what it holds."""
    try:
        said = read_xmp(content)
    except UnreadableXmp:
        return Described(notes=(UNREADABLE_SIDECAR,))
    found = reconciled(None, None, said, iim_is_newer=False)
    return replace(found, notes=(BY_VISTAG,) if said.by_vistag else ()).bounded()


def together(embedded: Described, *sidecars: Described) -> Described:
    """The description of a picture: what its sidecars say in place of what its file says.

    Keywords of the file stand beside those of a sidecar that vistag has written into: it was not begun as a copy of them.
    """
    found = embedded
    for sidecar in sidecars:
        is_ours = BY_VISTAG in sidecar.notes
        added = (*found.keywords, *sidecar.keywords) if is_ours or found is not embedded else sidecar.keywords
        paths = (
            (*found.keyword_paths, *sidecar.keyword_paths)
            if is_ours or found is not embedded
            else sidecar.keyword_paths
        )
        says = bool(sidecar.keywords or sidecar.keyword_paths)
        found = replace(
            found,
            keywords=tuple(dict.fromkeys(added)) if says else found.keywords,
            keyword_paths=tuple(dict.fromkeys(paths)) if says else found.keyword_paths,
            **{
                name: value
                for name in ("title", "description", "creators", "rating", "latitude", "longitude", "dated")
                if (value := getattr(sidecar, name)) not in (None, ())
            },
            notes=tuple(dict.fromkeys((*found.notes, *(n for n in sidecar.notes if n != BY_VISTAG)))),
        )
    return found.bounded()
