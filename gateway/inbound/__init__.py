"""How requests come in: the worker, the handler of the gateway's paths, bodies within limits."""
