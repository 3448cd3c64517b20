"""Functions of the records: tables of rounds, learning curves, comparisons. Nothing here runs a model."""
