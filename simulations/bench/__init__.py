"""Comparisons with the usual alternatives, run by hand: speed and choice of coordinates."""
