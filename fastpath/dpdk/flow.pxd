"""rte_flow: the one kind of rule that is made here, in C because its structures are bit fields and unions."""

from libc.stdint cimport uint16_t, uint32_t


cdef extern from * nogil:
    """
    #include <rte_flow.h>

    /* IPv4 packets to this address go to this queue. NULL: refused, and `error` has the driver's words or none. */
    static struct rte_flow *flow_to_queue(uint16_t port, uint32_t address, uint16_t queue, struct rte_flow_error *error) {
        const struct rte_flow_attr attributes = {.ingress = 1};
        const struct rte_flow_item_ipv4 packet = {.hdr.dst_addr = address}, mask = {.hdr.dst_addr = UINT32_MAX};
        const struct rte_flow_item pattern[] = {
            {.type = RTE_FLOW_ITEM_TYPE_ETH},
            {.type = RTE_FLOW_ITEM_TYPE_IPV4, .spec = &packet, .mask = &mask},
            {.type = RTE_FLOW_ITEM_TYPE_END},
        };
        const struct rte_flow_action_queue target = {.index = queue};
        const struct rte_flow_action actions[] = {
            {.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &target},
            {.type = RTE_FLOW_ACTION_TYPE_END},
        };
        return rte_flow_create(port, &attributes, pattern, actions, error);
    }
    """
    struct rte_flow:
        pass
    struct rte_flow_error:
        const char *message
    rte_flow *flow_to_queue(uint16_t port, uint32_t address, uint16_t queue, rte_flow_error *error)
    int rte_flow_destroy(uint16_t port, rte_flow *flow, rte_flow_error *error)
