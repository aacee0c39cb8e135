"""Of the control channel: a real server on a real Unix socket."""
