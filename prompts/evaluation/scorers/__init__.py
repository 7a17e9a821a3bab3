"""Every scorer there is: importing them registers them."""

from prompts.evaluation.scorers import code, documents, judged, prose
from prompts.evaluation.scorers.base import SCORERS, Scorer

__all__ = ["SCORERS", "Scorer", "code", "documents", "judged", "prose"]
