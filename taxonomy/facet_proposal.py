"""A proposal for the facets of somebody else's vocabulary: which of its branches and collections are of which of the
starter's, by the labels that both have.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from taxonomy.drafts import Draft, Reading
from taxonomy.loading import read_drafts, starter_taxonomy
from taxonomy.model import Taxonomy


def propose_facets(path: Path, languages: Sequence[str], columns: Mapping[str, str]) -> str:
    """YAML to be looked through and saved beside the file as NAME.facets.yaml.

    Each collection, or where there are none each concept without a broader one, is given to the facet of most of those
    concepts of the starter's whose labels are found in it; to the first facet where none is.

    Raises TaxonomyError where the file cannot be read.
    """
    reading = read_drafts(path, languages, columns)
    starter = starter_taxonomy()
    branches = _collections(reading) or _top_branches(reading)
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, (label, drafts) in branches.items():
        votes = _votes(drafts, starter)
        best = min(votes, key=lambda facet: (-votes[facet], starter.facets[facet].order), default="")
        share = f"{votes[best]} of {votes.total()} known labels" if best else "no known label"
        found[best or next(iter(starter.facets))].append((name, f"{label}: {len(drafts)} concepts, {share}"))
    lines = [
        f"# Proposed for {path.name} from the labels that it shares with the starter vocabulary: look it through,"
    ]
    lines.append(
        f"# and save it as {path.with_suffix('.facets.yaml').name} beside it. What the fields are: docs/taxonomy.md"
    )
    for facet in (name for name in starter.facets if name in found):
        lines += [f"{facet}:", "  members:"]
        lines += [
            f"    - {_scalar(name)}  # {' '.join(remark.split())}" for name, remark in sorted(found[facet])
        ]
    return "\n".join(lines) + "\n"


def _scalar(name: str) -> str:
    return yaml.safe_dump(name, allow_unicode=True, width=10_000, default_style='"').strip()


def _collections(reading: Reading) -> dict[str, tuple[str, list[Draft]]]:
    """Group -> its label and its concepts; each concept counts for the nearest of its groups. Of one group alone
    nothing is learnt.
    """
    found: dict[str, list[Draft]] = defaultdict(list)
    for draft in reading.drafts:
        if draft.groups:
            found[draft.groups[0]].append(draft)
    if len(found) < 2:
        return {}
    names = reading.groups
    return {group: (next(iter(names.get(group, ())[2:]), group), drafts) for group, drafts in found.items()}


def _top_branches(reading: Reading) -> dict[str, tuple[str, list[Draft]]]:
    """Id of a concept without a broader one -> its label, and it with all that are narrower."""
    by_id = {draft.concept.id: draft for draft in reading.drafts}
    narrower: dict[str, list[str]] = defaultdict(list)
    for draft in reading.drafts:
        for parent in draft.concept.broader:
            narrower[parent].append(draft.concept.id)
    found = {}
    for root in (draft for draft in reading.drafts if by_id.keys().isdisjoint(draft.concept.broader)):
        reached, waiting = {root.concept.id: root}, [root.concept.id]
        while waiting:
            for child in narrower[waiting.pop()]:
                if child not in reached:
                    reached[child] = by_id[child]
                    waiting.append(child)
        found[root.concept.id] = (root.concept.pref_label, list(reached.values()))
    return found


def _votes(drafts: Sequence[Draft], starter: Taxonomy) -> Counter[str]:
    """Facet of the starter -> concepts of these whose label is one of its concepts'."""
    known = (starter.labels.concept_of(draft.concept.english_labels[0]) for draft in drafts)
    return Counter(starter.by_id[id_].facet for id_ in known if id_)
