"""The database of a gateway node that has none (SERVING_CONFIG_URL)."""
