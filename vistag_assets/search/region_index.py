"""The index over regions, boxed and masked."""

from vistag_assets.search.updating import index_asset

region_index = index_asset("region_index")
