"""Training: the loop, its objective, the optimiser, probes and the runtime."""
