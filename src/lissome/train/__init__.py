"""Training: a plain loop, distillation, checkpoints, and the staged run behind `lissome compress`."""
