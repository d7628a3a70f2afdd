"""What `fitwell` does, a file per verb; each is a function with keyword arguments.

A verb returns a result with `to_dict()` (plain data for `--json`) and a readable `str()`. The
command line adds nothing to it (`fitwell.cli`). Files here import torch inside the functions that
need it, so that help never waits for it.
"""
