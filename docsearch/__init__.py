"""Documentation search: an index per GitLab version, and its search. Imports nothing of ours."""
