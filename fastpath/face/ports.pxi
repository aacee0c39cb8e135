# Ports: configured, started, with their rings to the kernel. Part of engine.pyx.

cdef frame_ring *make_frame_ring(uint32_t frame_max) except NULL:
    cdef frame_ring *r = <frame_ring *>aligned_memory(sizeof(frame_ring))
    r.frame_max = frame_max
    r.stride = (4 + frame_max + LINE - 1) // LINE * LINE
    r.data = <uint8_t *>lazy_memory(<size_t>r.stride * FRAME_SLOTS)
    return r


cdef check(int rc, str name, str what):
    if rc < 0:
        raise EngineError(f"Port {name}: {what}: {rte_strerror(-rc).decode()}.")


cdef tuple configure(uint16_t number, str name, uint16_t rx_size, uint16_t tx_size, uint32_t mtu):
    """One queue pair a worker, started; takes what is for its MAC address, and multicast. Returns the sizes it has got."""
    cdef rte_eth_conf conf
    cdef rte_eth_dev_info info
    cdef uint16_t queue
    check(rte_eth_dev_info_get(number, &info), name, "cannot be asked for its abilities")
    memset(&conf, 0, sizeof(conf))
    conf.rxmode.mtu = mtu
    conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM
    need(info.max_rx_queues >= N_WORKERS and info.max_tx_queues >= N_WORKERS,
         f"Port {name}: {info.max_rx_queues} receive and {info.max_tx_queues} transmit queues, {N_WORKERS} of each needed.")
    check(rte_eth_dev_configure(number, N_WORKERS, N_WORKERS, &conf), name, "cannot be configured")
    check(rte_eth_dev_adjust_nb_rx_tx_desc(number, &rx_size, &tx_size), name, "ring sizes")
    for queue in range(N_WORKERS):
        socket = max(rte_eth_dev_socket_id(number), 0)
        check(rte_eth_rx_queue_setup(number, queue, rx_size, socket, NULL, S.pool), name, "receive queue")
        check(rte_eth_tx_queue_setup(number, queue, tx_size, socket, NULL), name, "transmit queue")
    check(rte_eth_dev_start(number), name, "does not start")
    # The kernel's protocols (OSPF, VRRP, ND) come by multicast; a PMD that cannot filter so much has to take all.
    if rte_eth_allmulticast_enable(number) != 0:
        rte_eth_promiscuous_enable(number)
    return rx_size, tx_size


cdef open_port(uint16_t number, str name, uint32_t mtu, uint64_t mac):
    """Everything of ours about a configured port."""
    cdef rte_eth_dev_info info
    cdef port *p = &S.ports[number]
    need(number < MAX_PORTS, f"Port {name}: at most {MAX_PORTS} ports.")
    rte_eth_dev_info_get(number, &info)
    p.mac = mac
    p.mtu = mtu
    p.kernel_fd = -1
    for i in range(N_WORKERS):
        p.to_kernel[i] = make_frame_ring(mtu + 22)
        p.from_kernel[i] = make_frame_ring(mtu + 22)
    p.started = 1
    S.n_ports = max(S.n_ports, number + 1)
    return Port(number, name, info.driver_name.decode(), mac.to_bytes(6, "little"), N_WORKERS, N_WORKERS)


def add_port(name, rx_size=256, tx_size=512, mtu=1500):
    cdef uint16_t number
    cdef rte_ether_addr mac
    started()
    need(not running, "Ports are added between init() and start().")
    within(mtu, 68, S.mtu, f"Port {name}: mtu")
    within(rx_size, 1, 65535, f"Port {name}: rx_size")
    within(tx_size, 1, 65535, f"Port {name}: tx_size")
    if rte_eth_dev_get_port_by_name(name.encode(), &number) != 0:
        raise EngineError(f"Port {name}: EAL found no such device, or did not take it; its lines in the log say why.")
    ring_sizes[number] = configure(number, name, rx_size, tx_size, mtu)
    rte_eth_macaddr_get(number, &mac)
    return open_port(number, name, mtu, load48(mac.addr_bytes))


def add_ring_port(name):
    cdef rte_ring *rx
    cdef rte_ring *tx
    started()
    need(not running, "Ports are added between init() and start().")
    rx = rte_ring_create(f"{name}-rx".encode(), RING_PORT_SLOTS, 0, RING_F_SP_ENQ | RING_F_SC_DEQ)
    tx = rte_ring_create(f"{name}-tx".encode(), RING_PORT_SLOTS, 0, RING_F_SP_ENQ | RING_F_SC_DEQ)
    need(rx != NULL and tx != NULL, f"Port {name}: no memory for its rings: {eal_error()}.")
    number = rte_eth_from_rings(name.encode(), &rx, 1, &tx, 1, 0)
    need(number >= 0, f"Port {name}: cannot be made: {eal_error()}.")
    ring_sizes[number] = configure(number, name, 1024, 1024, S.mtu)
    rings.extend([None] * (number + 1 - len(rings)))
    rings[number] = (<size_t>rx, <size_t>tx)
    made = open_port(number, name, S.mtu, int.from_bytes(bytes([2, 0, 0, 0, 0, number + 1]), "little"))
    S.ports[number].kernel_attached = 1
    return made


def set_port_address(port, address):
    port_at(port).address = 0 if address is None else be32_of(address)


def attach_kernel_interface(port, int tap_fd):
    need(not running, "Kernel interfaces are attached before start().")
    port_at(port).kernel_fd = tap_fd
    port_at(port).kernel_attached = 1


def kernel_loop():
    global kernel_looping
    started()
    kernel_looping = True
    try:
        with nogil:
            carry_frames(S)
    finally:
        kernel_looping = False
