"""Evaluation: eval mode, averages, metrics."""
