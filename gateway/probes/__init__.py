"""Asking model servers beside the requests: by commands, on schedule, and for pages that wait."""
