"""The REST API at `/api/v1/`: everything an admin can do in the web, for programs."""
