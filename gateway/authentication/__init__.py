"""Who calls: keys, tokens, and who is refused."""
