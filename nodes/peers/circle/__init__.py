"""Who is in a circle, a parent and its children, who can be dialled, and what they tell each other.

A statement is believed by its signature, not by who brings it.
"""
