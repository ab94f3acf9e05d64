"""Experiments: data sets, the demo, benches. They drive what ``nodes`` provides."""
