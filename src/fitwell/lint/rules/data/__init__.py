"""Data: loaders, augmentation, splits, leaks."""
