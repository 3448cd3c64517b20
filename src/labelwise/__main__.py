"""`python -m labelwise`."""

from labelwise.cli import main

main()
