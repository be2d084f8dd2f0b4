"""What n -> ∞ gives: Gaussian moments, kernels, trajectories. NumPy, float64."""
