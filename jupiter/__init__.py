"""jupiter: a FullNAT layer-4 load balancer on DPDK. This package is its control plane."""

VERSION = "0.1.0"
