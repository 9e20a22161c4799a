"""One unit vector an image, by the encoder of the tier."""

from collections.abc import Iterator

import dagster as dg
import numpy as np
import pyarrow as pa

from resources.checked import check_unit_length
from resources.lake import embedding_column, embedding_matrix
from resources.models.encoders import embed_in_batches
from resources.previews import NOTHING, Preview, preview, thumbnail
from resources.workspace import VistagResource
from vistag_assets.folder_asset import Batch, Folder, Proxies, Rows, folder_asset
from vistag_assets.lineage import derived
from vistag_assets.partitions import PREVIEWED_IMAGES

EMBEDDING_VERSION = 1


def _neighbours(folder: Folder) -> Preview:
    """The first images, each beside the one of its folder that is most like it."""
    stored = folder.lake.read("global_embeddings", folder.key, ["id", "embedding"])
    vectors, ids, open_image = (
        embedding_matrix(stored["embedding"]),
        stored["id"].to_pylist(),
        folder.opener(),
    )
    if len(ids) < 2:
        return NOTHING
    cosines = vectors[:PREVIEWED_IMAGES] @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    rows = [
        (
            thumbnail(open_image(ids[index])),
            thumbnail(open_image(ids[nearest])),
            f"{cosines[index, nearest]:.2f}",
        )
        for index, nearest in enumerate(cosines.argmax(axis=1))
    ]
    return preview(["image", "most like it", "cosine"], rows)


@folder_asset("Embedding images", role="encoder", version=EMBEDDING_VERSION, preview=_neighbours)
def global_embeddings(folder: Folder, proxies: Proxies) -> Rows:
    encoder, open_image = folder.workspace.encoder, folder.opener(proxies)

    def compute(ids: list[str]) -> Iterator[Batch]:
        for batch, vectors in embed_in_batches(encoder, ids, open_image):
            yield Batch(batch, pa.table({"id": batch, "embedding": embedding_column(vectors)}))

    wanted = derived(proxies, encoder=encoder.fingerprint, version=folder.version)
    return Rows(wanted, compute, encoder.load, dimension=encoder.dimension)


@dg.asset_check(asset="global_embeddings", description="Embeddings have unit length (of a sample).")
def embeddings_are_unit_length(vistag: VistagResource) -> dg.AssetCheckResult:
    return check_unit_length(vistag.open().lake, "global_embeddings", "embedding")
