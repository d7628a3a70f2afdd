"""Verbs that train several models together: the members of a group are ordinary runs."""
