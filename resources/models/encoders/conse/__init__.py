"""ConSE: any image classifier and a sentence encoder as a dual encoder, without training (Norouzi et al., 2014).

What a classifier knows of an image is how probable each of its classes is. Of a phrase is said which of those classes
it names, and how surely; the product of both is how probable it is that the image shows what the phrase says. ConSE
compares the two in the space of the sentence encoder, where a mean of label vectors lies between all things; here the
comparison is made in the space of the classes, and the sentence encoder is asked about phrases only that WordNet does
not know.
"""

from resources.models.encoders.conse.towers import ConseTowers

__all__ = ["ConseTowers"]
