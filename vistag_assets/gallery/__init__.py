"""The contact sheet: pages of pictures with their tags, and what stands behind each of them."""

from vistag_assets.gallery.cards import Card, cards_of
from vistag_assets.gallery.html import Page, design, one_page, paginate, render_index, render_page

__all__ = ["Card", "Page", "cards_of", "design", "one_page", "paginate", "render_index", "render_page"]
