"""Tensors: shapes, dtypes, devices."""
