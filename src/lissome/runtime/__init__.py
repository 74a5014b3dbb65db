"""Running: plan, engine and the native kernels. Needs NumPy only."""
