"""Acceptance suites on site: asked through the live path, stored, compared and reported."""
