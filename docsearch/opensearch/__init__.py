"""The documentation in an OpenSearch, or Elasticsearch 7.10 or newer, that the customer runs.

One index for each GitLab version and build, an alias for each version. Nothing here is imported
unless DOCS_SEARCH_URL is set: the client is an extra (requirements-opensearch.txt).
"""
