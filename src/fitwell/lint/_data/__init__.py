"""What rules know of data: loaders, transforms, splits, where values come from, labels."""
