"""What there is to ask: every pair of a picture and a concept, with what machine and people say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import duckdb
import pyarrow as pa

from resources.decisions import Event, Pair, fold, in_force, successor
from resources.tables import TAG_SCORES, TAGS
from resources.workspace import Workspace
from vistag_assets.lineage import pixel_hashes

PICTURES = pa.schema([(name, pa.string()) for name in ("id", "folder", "pixel_hash")])
POOL = pa.schema(
    [
        ("id", pa.string()),
        ("concept_id", pa.string()),
        ("probability", pa.float64()),
        ("region_id", pa.string()),
        ("shown", pa.string()),
        ("named", pa.bool_()),  # whether the machine gives the picture this tag
        ("accepted", pa.bool_()),  # what people said; null where nobody did
    ]
)

# What is in `tags` because a person spoke of it is no word of the machine's: without anybody's word it would have had
# its best `top_k`. A tag that a narrower one lent is not asked about: it is true where that is.
_TAGS = """
select id, concept_id, probability::double as probability, region_ids[1] as region_id, fingerprint as shown,
    probability >= {least} and row_number() over (
        partition by id order by probability desc, concept_id
    ) <= {top_k} as named
from (from tags union all by name from tags_of_now) semi join pictures using (id, folder)
where concept_id is not null and inherited_from is null
"""
# what was scored and did not come among the tags of its image: of concepts that would have next to no pair without
_SCORES = """
select id, concept_id, least(max(probability)::double, {least}) as probability, null as region_id, null as shown,
    false as named
from (from tag_scores union all by name from scores_of_now) semi join pictures using (id, folder)
where inherited_from is null and concept_id not in (
    select concept_id from told where named group by all having count(*) >= {few}
)
group by id, concept_id
"""
_POOL = """
with told as ({tags}), spoken as (
    select * from told union all by name select * from ({scores}) anti join told using (id, concept_id)
)
select coalesce(spoken.id, decided.id) as id, coalesce(spoken.concept_id, decided.concept_id) as concept_id,
    coalesce(probability, 0) as probability, coalesce(drawn, region_id) as region_id, shown, coalesce(spoken.named, false) as named,
    accepted
from spoken full join decided on spoken.id = decided.id and spoken.concept_id = decided.concept_id
where coalesce(spoken.concept_id, decided.concept_id) in (select concept_id from concepts)
order by concept_id, id
"""
_NOTHING = """
select '' as id, '' as concept_id, 0::double as probability, null as region_id, null as shown, false as named limit 0
"""


@dataclass(frozen=True)
class Library:
    """The pictures of a home, each once, and what people said of them."""

    pictures: pa.Table
    """PICTURES, by id; of files that show the same picture it is the first"""
    decided: Mapping[Pair, tuple[bool, Event]]
    """(image id, concept id) -> whether it was accepted, and the event that says so; of the vocabulary of now"""
    skipped: frozenset[Pair]
    """pairs that somebody looked at and nobody could tell"""

    @cached_property
    def folder_of(self) -> Mapping[str, str]:
        return dict(zip(self.pictures["id"].to_pylist(), self.pictures["folder"].to_pylist(), strict=True))

    @cached_property
    def hash_of(self) -> Mapping[str, str | None]:
        return dict(
            zip(self.pictures["id"].to_pylist(), self.pictures["pixel_hash"].to_pylist(), strict=True)
        )

    @classmethod
    def read(cls, workspace: Workspace) -> Library:
        """Raises LogUnavailable."""
        pictures, replaced = _pictures(workspace), workspace.taxonomy.replaced
        hashes = dict(zip(pictures["id"].to_pylist(), pictures["pixel_hash"].to_pylist(), strict=True))
        events = workspace.decisions.since()
        decided = {
            (id_, concept_id): (standing.accepted, standing.event)
            for id_, stands in fold(hashes, events, replaced).items()
            for (concept_id, _), standing in stands.items()
            if concept_id and concept_id in workspace.taxonomy.by_id and standing.event.source == "person"
        }
        named = {pixels or id_: id_ for id_, pixels in hashes.items()} | {id_: id_ for id_ in hashes}
        skipped = {
            (id_, successor(event.concept_id, replaced))
            for event in in_force(events)
            if event.verdict == "skip" and event.concept_id
            if (id_ := named.get(event.image_id) or named.get(event.pixel_hash or ""))
        }
        return cls(pictures, decided, frozenset(skipped - decided.keys()))


def read_pool(workspace: Workspace, library: Library, few: int) -> pa.Table:
    """POOL, by concept and image: the tags of every picture, and what people decided.

    `few`: a concept with fewer tags than that is looked for among the scores of the encoder too.
    """
    lake, concepts = workspace.lake, sorted(workspace.taxonomy.by_id)
    rows = [
        {"id": id_, "concept_id": concept, "accepted": accepted, "drawn": event.region_id}
        for (id_, concept), (accepted, event) in library.decided.items()
    ]
    decided = pa.Table.from_pylist(
        rows,
        pa.schema(
            [
                ("id", pa.string()),
                ("concept_id", pa.string()),
                ("accepted", pa.bool_()),
                ("drawn", pa.string()),
            ]
        ),
    )
    settings = workspace.tier.tags
    least, top_k = settings.min_probability, settings.top_k
    with lake.connect(skip_damaged=True) as sql:
        sql.register("pictures", library.pictures)
        # columns that an older home lacks are null
        sql.register("tags_of_now", TAGS.schema.empty_table())
        sql.register("scores_of_now", TAG_SCORES.schema.empty_table())
        sql.register("decided", decided)
        sql.register("concepts", pa.table({"concept_id": pa.array(concepts, pa.string())}))
        views = _views(sql)
        tags = _TAGS.format(least=least, top_k=top_k) if "tags" in views else _NOTHING
        scores = _SCORES.format(least=least, few=few) if "tag_scores" in views else _NOTHING
        return sql.sql(_POOL.format(tags=tags, scores=scores)).to_arrow_table().cast(POOL)


def _views(sql: duckdb.DuckDBPyConnection) -> set[str]:
    return {
        name for (name,) in sql.execute("select view_name from duckdb_views() where not internal").fetchall()
    }


def _pictures(workspace: Workspace) -> pa.Table:
    gone = set(workspace.home.gone_keys())
    first: dict[str, tuple[str, str, str | None]] = {}
    for folder in workspace.lake.folders("images"):
        if folder not in gone:
            for id_, pixels in pixel_hashes(workspace.lake.read("images", folder)).items():
                first.setdefault(pixels or id_, (id_, folder, pixels))
    # one content may lie in a folder of before pixel hashes and in one of after
    once = {id_: (id_, folder, pixels) for id_, folder, pixels in first.values()}
    rows = [dict(zip(PICTURES.names, once[id_], strict=True)) for id_ in sorted(once)]
    return pa.Table.from_pylist(rows, PICTURES)
