"""The room child."""
