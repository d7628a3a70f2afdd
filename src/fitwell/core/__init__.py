"""Standard library only: errors, method specs, records, paths, cards. Imports nothing heavier."""
