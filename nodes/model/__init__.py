"""The model side of a node: base, coordinates, adapter, training. Imports torch only where used."""
