"""The room dashboard."""
