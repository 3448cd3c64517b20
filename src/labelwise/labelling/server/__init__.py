"""The page's server: on this machine's loopback, for people who have the link."""
