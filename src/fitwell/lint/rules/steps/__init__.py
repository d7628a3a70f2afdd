"""Training steps: zero_grad, backward, step, schedules, clipping, accumulation."""
