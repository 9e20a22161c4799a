"""The index over whole images."""

from vistag_assets.search.updating import index_asset

image_index = index_asset("image_index")
