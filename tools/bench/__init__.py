"""What a packet costs: `make bench`."""
