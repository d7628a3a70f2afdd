"""What rules know of a program: its names, values, flow, loops and roles. Nothing is run."""
