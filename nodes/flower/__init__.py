"""Flower's links: what a node needs of flwr, with its internals kept in ``internals.py``."""
