"""`fitwell probe`: experiments on a run."""

from ._verb import probe as probe
