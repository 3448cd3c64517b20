"""A study: from its configuration to a plan of runs, and to their records."""
