"""The room parent."""
