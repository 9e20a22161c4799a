"""True one-sentence captions of a scene."""

from demo.world.scene import ObjectSpec, SceneSpec
from taxonomy import Taxonomy

PLACES = {
    "studio-backdrop": "against a studio backdrop",
    "stone-plinth": "on a stone plinth",
    "wooden-shelf": "on a wooden shelf",
    "velvet-cloth": "on velvet cloth",
    "display-case": "in a display case",
    "brick-wall": "before a brick wall",
}
PLURALS = frozenset({"scissors", "spectacles", "balance-scales"})


def _name(item: ObjectSpec, taxonomy: Taxonomy) -> str:
    noun = taxonomy.by_id[item.concept].pref_label
    words = f"{taxonomy.by_id[item.material].pref_label} {noun}"
    if item.concept in PLURALS:
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(scene: SceneSpec, taxonomy: Taxonomy) -> str:
    """Names every object with its material, then the setting, e.g. "a jade bowl and an oak chest on a stone plinth"."""
    names = [_name(item, taxonomy) for item in scene.objects]
    things = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    place = PLACES.get(scene.setting) or f"before a {taxonomy.by_id[scene.setting].pref_label}"
    return f"{things} {place}"
