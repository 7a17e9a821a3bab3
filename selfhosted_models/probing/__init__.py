"""Asking model servers about themselves: are they well, what are they, what can they do."""
