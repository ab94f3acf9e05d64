"""Real text and real models for experiments, read where their packages are installed."""
