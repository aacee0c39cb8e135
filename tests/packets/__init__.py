"""Packet tests: frames in, frames out, counters; each behaviour of the data plane through engine.run_once()."""
