"""``python -m fitwell`` is the same as ``fitwell``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
