"""Real text and base models for the demo and the experiments, read from installed packages."""
