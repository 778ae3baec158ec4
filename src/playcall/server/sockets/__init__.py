"""The realtime contract's server half (docs/realtime-protocol.md): over a WebSocket, and the same by long poll."""
