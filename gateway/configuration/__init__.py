"""Configuration as code: one document that files, revisions, exports and snapshots are made of."""
