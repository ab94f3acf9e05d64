"""The peer: its state, its links, its roles, and the commands that run it."""
