"""``GET /openapi.json``: every route that programs use, described for programs that make programs."""
