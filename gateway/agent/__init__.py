"""Duo Chat's agent: its messages, its tools, and what the model says of them."""
