"""Saving, loading, reproducing."""
