"""What rules know of tensors: sizes, dimensions, dtypes, devices, and the layers between."""
