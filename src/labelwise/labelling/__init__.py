"""Labelling with people: a project of images and events, the page's server, and exchange with other tools."""
