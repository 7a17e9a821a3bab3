"""What operators do from a terminal: support bundles, rotating keys, messages of commands."""
