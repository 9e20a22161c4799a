"""Taggers: an image to a score for each tag of a list of their own, or of the vocabulary where they can be asked it.

A new family is one class with the methods of `Tagger` and its rows in resources/models/registry/tagger.yaml.
"""

from resources.models.taggers.spec import AskedTag, Tagger, TaggerSpec
from resources.models.taggers.tag_list import TagList

__all__ = ["AskedTag", "TagList", "Tagger", "TaggerSpec"]
