"""Documentation search as the gateway runs it: for requests, on every node, with its questions."""
