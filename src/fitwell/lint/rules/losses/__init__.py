"""Losses and activations: what goes into a loss."""
