"""A service a noun, and the clients that they stand on: usable alone, for any backend."""
