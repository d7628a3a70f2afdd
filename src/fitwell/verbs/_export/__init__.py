"""The verb `export`: the file formats, and the verb that writes and checks them."""

from ._verb import Export as Export
from ._verb import export as export
