"""What the members of a circle tell each other: a parent and its children.

A statement is believed by its signature, not by who brings it.
"""
