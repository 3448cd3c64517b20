"""Images and labels: sources, decoding, the cache, and the subsets of the study."""
