"""What rules know of trainings: losses, graphs, optimizers, modes, averages, selection."""
