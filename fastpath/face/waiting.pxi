# What wakes a sleeping worker when packets come to its queue of a port. Part of engine.pyx.

IDLE = ("adaptive", "poll")


cdef list packet_sockets(unsigned int interface):
    """Descriptors of this process's packet sockets that are bound to a netdev (its index), in the order of their making."""
    found = []
    name = socket.if_indextoname(interface).encode()
    for fd in sorted(int(entry) for entry in os.listdir("/proc/self/fd")):
        try:
            one = socket.socket(fileno=fd)
        except OSError:
            continue  # no socket, or the descriptor of the directory, which is closed by now
        try:
            if one.family == socket.AF_PACKET and one.getsockname()[0].encode() == name:
                found.append(fd)
        finally:
            one.detach()  # it is the driver's
    return found


cdef find_wait_descriptors(uint16_t number, const rte_eth_dev_info *info):
    """net_af_packet receives through a ring beside a socket, one a queue, made in their order. poll(2) calls such a socket
    readable while the frame that the kernel wrote last is unread (packet_poll in Linux's net/packet/af_packet.c)."""
    if info.driver_name != b"net_af_packet" or not S.idle_adaptive:
        return
    sockets = packet_sockets(info.if_index)
    if len(sockets) != info.max_rx_queues:
        return  # not as we know it: the worker looks now and then
    for queue in range(S.ports[number].rx_queues):
        W[queue].wait_fds[number] = sockets[queue]


cdef str woken_by(uint32_t port):
    if not S.idle_adaptive:
        return "nothing: it never sleeps"
    return "timer" if W[0].wait_fds[port] == NO_WAIT else "socket"
