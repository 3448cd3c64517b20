"""Backbones, embeddings and the learners that are trained on the labelled set."""
