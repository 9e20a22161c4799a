"""What a perfect answer to each prompt is, from the description of a scene.

Every word of an answer follows from the scene alone, objects are told from left to right, and concepts are called by
their preferred labels, so that `Taxonomy.labels` finds in a true answer exactly what the scene shows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from demo.world.captions import PLACES, PLURALS
from demo.world.scene import ObjectSpec, SceneSpec
from taxonomy import Taxonomy

LIGHTS = {
    "soft-light": "in soft light",
    "raking-light": "in raking light",
    "spotlight": "under a spotlight",
    "backlight": "in backlight",
}
COLOURS = {
    "terracotta": "reddish brown", "bronze": "dark yellowish brown", "porcelain": "white and blue", "oak": "warm mid-brown",
    "silver": "bright grey", "marble": "off-white with grey veins", "iron": "near black", "glass": "pale blue-green",
    "copper": "reddish orange", "leather": "deep brown", "gold": "rich yellow", "linen": "pale beige", "ebony": "almost black",
    "granite": "speckled grey", "jade": "soft green", "lacquer": "bright red", "amber": "honey orange",
    "tortoiseshell": "mottled brown and yellow", "lapis-lazuli": "deep blue with golden flecks", "malachite": "banded green",
}  # fmt: skip
"""What colour each material of `demo.world.materials` has."""
SURROUNDINGS = {
    "studio-backdrop": "a plain studio backdrop",
    "stone-plinth": "a pale stone plinth and a dark wall",
    "wooden-shelf": "a brown wooden shelf and a painted wall",
    "velvet-cloth": "the deep folds of velvet cloth",
    "display-case": "the grey inside of a display case",
    "brick-wall": "a red brick wall and a grey floor",
}
NUMBERS = {2: "two", 3: "three"}
LARGE, SMALL = 0.64, 0.3
"""Sizes of an object, as shares of the picture's shorter side."""
ALIKE = 1.2
OFF_CENTRE = 0.05
COMPACT = (",", ":")

Region = tuple[str, str]
"""A short id such as "r1" and the label of what is there."""


def mirrored(scene: SceneSpec) -> SceneSpec:
    """The same scene with left and right swapped."""
    return replace(
        scene,
        light_from_left=not scene.light_from_left,
        objects=tuple(replace(item, centre_x=1 - item.centre_x) for item in scene.objects),
        props=tuple(replace(prop, centre_x=1 - prop.centre_x) for prop in scene.props),
    )


def label_text(scene: SceneSpec) -> str:
    """What can be read in the picture: the words of its museum label, or nothing."""
    return next((prop.text for prop in scene.props if prop.text), "")


def listed(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _from_left(scene: SceneSpec) -> list[ObjectSpec]:
    return sorted(scene.objects, key=lambda item: item.centre_x)


def _place(index: int, count: int) -> str:
    beside = ("on the left", *["in the middle"] * (count - 2), "on the right")
    return "near the centre" if count == 1 else beside[index]


class Speaker:
    """Says what a scene shows, in the words of a vocabulary."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.label: Mapping[str, str] = taxonomy.pref_labels

    def region(self, item: ObjectSpec) -> str:
        """For example "terracotta bowl with gilding and a crack"."""
        finishes = [self.label[item.technique]] if item.technique else []
        if item.condition:
            finishes.append("a crack" if item.condition == "crack" else self.label[item.condition])
        words = f"{self.label[item.material]} {self.label[item.concept]}"
        return f"{words} with {listed(finishes)}" if finishes else words

    def _named(self, item: ObjectSpec) -> str:
        words = self.region(item)
        return words if item.concept in PLURALS else _with_article(words)

    def _props(self, scene: SceneSpec, text: str) -> list[str]:
        return [
            _with_article(self.label[prop.concept]) + (f" reading '{text}'" if prop.text and text else "")
            for prop in scene.props
        ]

    def caption(self, scene: SceneSpec, text: str = "") -> str:
        """One sentence with every object, its finish, the setting, the light and what lies in front.

        `text` is what was read on the museum label; it is quoted if the scene has one.
        """
        items = _from_left(scene)
        verb = "stands" if len(items) == 1 and items[0].concept not in PLURALS else "stand"
        words = f"{listed([self._named(item) for item in items])} {verb} {PLACES[scene.setting]}"
        if scene.lighting:
            words += f" {LIGHTS[scene.lighting]}"
        props = self._props(scene, text)
        return _sentence(f"{words}, with {listed(props)} in front" if props else words)

    def tags(self, scene: SceneSpec) -> list[str]:
        """The labels of all that is seen: objects from left to right, materials, finishes, the setting, the light, props."""
        items = _from_left(scene)
        told = [
            *(i.concept for i in items), *(i.material for i in items), *(i.technique for i in items),
            *(i.condition for i in items), scene.setting, scene.lighting, *(p.concept for p in scene.props),
        ]  # fmt: skip
        return [self.label[c] for c in dict.fromkeys(told) if c]

    def description(self, scene: SceneSpec, regions: Sequence[Region] = (), text: str = "") -> str:
        """One line of JSON; a subject claim cites the region of its label, of equal labels the next one from the left."""
        items, left = _from_left(scene), list(regions)

        def cite(label: str) -> list[str]:
            found = next((region for region in left if region[1] == label), None)
            if found is None:
                return []
            left.remove(found)
            return [found[0]]

        claims = []
        for index, item in enumerate(items):
            verb = "stand" if item.concept in PLURALS else "stands"
            told = _sentence(f"{self._named(item)} {verb} {_place(index, len(items))}")
            claims.append(_claim("subject", told, cite(self.label[item.concept])))
        for prop, named in zip(scene.props, self._props(scene, text), strict=True):
            side = "left" if prop.centre_x < 0.5 else "right"
            told = _sentence(f"{named} lies in front on the {side}")
            claims.append(_claim("subject", told, cite(self.label[prop.concept])))
        claims.append(_claim("lighting", self._lighting(scene, items)))
        claims.append(_claim("colour", self._colour(scene, items)))
        claims.append(_claim("composition", self._composition(scene, items)))
        title = listed([f"{self.label[i.material]} {self.label[i.concept]}" for i in items])
        answer = {"title": f"{title[0].upper()}{title[1:]}", "claims": claims, "tags": self.tags(scene)}
        return json.dumps(answer, ensure_ascii=False, separators=COMPACT)

    def _things(self, items: Sequence[ObjectSpec]) -> str:
        return "the object" if len(items) == 1 else f"the {NUMBERS[len(items)]} objects"

    def _lighting(self, scene: SceneSpec, items: Sequence[ObjectSpec]) -> str:
        side, things = "left" if scene.light_from_left else "right", self._things(items)
        return _sentence(
            {
                None: f"plain light from the {side} shows {things} clearly, with a moderate shadow",
                "soft-light": f"soft light falls evenly on {things} and leaves only a faint shadow below",
                "raking-light": f"raking light from the {side} brings out the surface and throws a long dark shadow",
                "spotlight": f"a spotlight from above picks out {things} and leaves the edges of the picture dark",
                "backlight": f"backlight glows behind {things} and draws a bright rim along the outline",
            }[scene.lighting]
        )

    def _colour(self, scene: SceneSpec, items: Sequence[ObjectSpec]) -> str:
        materials = dict.fromkeys(item.material for item in items)
        colours = listed([f"the {self.label[m]} is {COLOURS[m]}" for m in materials])
        return _sentence(f"{colours}, set off by {SURROUNDINGS[scene.setting]}")

    def _composition(self, scene: SceneSpec, items: Sequence[ObjectSpec]) -> str:
        where = PLACES[scene.setting]
        if len(items) == 1:
            size = items[0].size
            share = "takes up half" if size < LARGE else "fills most"
            share = "takes up a small part" if size < SMALL else share
            offset = items[0].centre_x - 0.5
            side = "left of" if offset < -OFF_CENTRE else "right of" if offset > OFF_CENTRE else "at"
            return _sentence(
                f"one object is placed {where}, {side} the middle of the picture, and {share} of its height"
            )
        sizes = sorted(((item.size, index) for index, item in enumerate(items)), reverse=True)
        order = f"{NUMBERS[len(items)]} objects are placed side by side {where}"
        if sizes[0][0] < ALIKE * sizes[1][0]:
            return _sentence(f"{order}, and the largest ones are of about the same size")
        return _sentence(f"{order}, and the one {_place(sizes[0][1], len(items))} is clearly the largest")


def _claim(aspect: str, text: str, regions: Sequence[str] = ()) -> dict[str, Any]:
    return {"aspect": aspect, "text": text, "regions": list(regions)}
