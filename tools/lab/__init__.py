"""A laboratory of network namespaces: a client, the director, two servers, and the Linux bridges that join them."""

from tools.lab.host import ROOT, Host, LabError, dns_queries, eal_cores
from tools.lab.laboratory import Laboratory, wait_until
from tools.lab.topology import ONE_ARM, ROUTED, TWO_ARM, UNROUTED, Topology

__all__ = [
    "ONE_ARM",
    "ROOT",
    "ROUTED",
    "TWO_ARM",
    "UNROUTED",
    "Host",
    "LabError",
    "Laboratory",
    "Topology",
    "dns_queries",
    "eal_cores",
    "wait_until",
]
