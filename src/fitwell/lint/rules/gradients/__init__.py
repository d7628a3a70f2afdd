"""Gradients: what cuts them, who gets them."""
