"""Measurements of labelwise side by side with others: `make bench`."""
