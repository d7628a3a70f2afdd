"""The doctor's instruments: measure a training, experiment on copies of it, look at its surface.

Each is useful on its own, and leaves what it looks at as it was.
"""
