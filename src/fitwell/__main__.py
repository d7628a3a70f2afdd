"""``python -m fitwell`` is the same as ``fitwell``."""

from .cli import run

if __name__ == "__main__":
    run()
