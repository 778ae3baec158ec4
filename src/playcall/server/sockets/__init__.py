"""The realtime contract's server half (docs/realtime.md): over a WebSocket, and the same by long poll."""
