"""Modules: layers, parameters, forward."""
