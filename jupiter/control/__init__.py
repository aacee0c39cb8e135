"""The control channel: JSON-RPC 2.0 over a Unix socket."""

DEFAULT_SOCKET = "/var/run/jupiter.sock"
