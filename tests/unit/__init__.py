"""Of the pure rooms: no socket, no network, no data plane."""
