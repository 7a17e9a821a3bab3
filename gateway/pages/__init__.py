"""The admin's pages: one module for each, and what they have in common."""
