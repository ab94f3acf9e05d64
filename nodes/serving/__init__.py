"""The room serving."""
