"""The web application of `vistag app`: the library, the evidence of each picture, the review queue, answers to programs."""
