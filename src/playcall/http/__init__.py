"""How one request is made: pool, transport, auth, limits, retry, redaction. Nothing here knows a resource."""
