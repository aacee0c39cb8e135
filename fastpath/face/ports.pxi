# Ports: configured, started, with their rings to the kernel. Part of engine.pyx.

cdef frame_ring *make_frame_ring(uint32_t frame_max, bell *consumers) except NULL:
    cdef frame_ring *r = <frame_ring *>aligned_memory(sizeof(frame_ring))
    r.frame_max = frame_max
    r.bell = consumers
    r.stride = (4 + frame_max + LINE - 1) // LINE * LINE
    r.data = <uint8_t *>lazy_memory(<size_t>r.stride * FRAME_SLOTS)
    return r


cdef check(int rc, str name, str what):
    if rc < 0:
        raise EngineError(f"Port {name}: {what}: {rte_strerror(-rc).decode()}.")


# net_e1000_em names two queues for each of its chips; on most of them (82540EM) the second never sends.
ONE_QUEUE = (b"net_e1000_em",)


cdef judge_queues(str name, const rte_eth_dev_info *info):
    need(info.max_rx_queues > 0 and info.max_tx_queues > 0,
         f"Port {name}: {info.max_rx_queues} receive and {info.max_tx_queues} transmit queues, one of each is needed.")
    # The kernel spreads frames over all sockets of its fanout group, whoever polls them.
    need(info.driver_name != b"net_af_packet" or info.max_rx_queues <= S.n_workers,
         f"Port {name}: qpairs={info.max_rx_queues} with {S.n_workers} worker lcores: what comes to a queue without a worker "
         f"would be lost. Give at most {S.n_workers}.")


cdef tuple configure(uint16_t number, str name, uint16_t rx_size, uint16_t tx_size, uint32_t mtu):
    """A queue pair for each worker, as far as the port has them, started; takes what is for its MAC address, and multicast.
    Returns the sizes that it has got, in descriptors, and why its RSS cannot say who owns what."""
    cdef rte_eth_conf conf
    cdef rte_eth_dev_info info
    cdef uint8_t key[MAX_KEY]
    cdef uint16_t rx_queues, tx_queues, queue
    cdef int node = max(rte_eth_dev_socket_id(number), 0)
    check(rte_eth_dev_info_get(number, &info), name, "cannot be asked for its abilities")
    if info.driver_name in ONE_QUEUE:
        info.max_rx_queues = info.max_tx_queues = 1
    judge_queues(name, &info)
    rx_queues = min(S.n_workers, info.max_rx_queues)
    tx_queues = min(S.n_workers, info.max_tx_queues)
    memset(&conf, 0, sizeof(conf))
    conf.rxmode.mtu = mtu
    conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM
    no_rss = why_no_rss(&info, S.n_workers)
    if rx_queues > 1 and info.flow_type_rss_offloads & RSS_WANTED and info.driver_name.decode() not in RSS_UNFIT:
        ask_for_rss(&conf, &info, key)  # if not to their owners, it brings packets to all workers
    check(rte_eth_dev_configure(number, rx_queues, tx_queues, &conf), name, "cannot be configured")
    check(rte_eth_dev_adjust_nb_rx_tx_desc(number, &rx_size, &tx_size), name, "ring sizes")
    for queue in range(rx_queues):
        check(rte_eth_rx_queue_setup(number, queue, rx_size, node, NULL, W[queue].pool), name, f"receive queue {queue}")
    for queue in range(tx_queues):
        check(rte_eth_tx_queue_setup(number, queue, tx_size, node, NULL), name, f"transmit queue {queue}")
    check(rte_eth_dev_start(number), name, "does not start")
    # The kernel's protocols (OSPF, VRRP, ND) come by multicast; a PMD that cannot filter so much has to take all.
    if rte_eth_allmulticast_enable(number) != 0:
        rte_eth_promiscuous_enable(number)
    return rx_size, tx_size, no_rss


cdef open_port(uint16_t number, str name, uint32_t mtu, uint64_t mac):
    """Everything of ours about a configured port."""
    cdef rte_eth_dev_info info
    cdef port *p = &S.ports[number]
    need(number < MAX_PORTS, f"Port {name}: at most {MAX_PORTS} ports.")
    rte_eth_dev_info_get(number, &info)
    p.mac = mac
    p.mtu = mtu
    S.least_mtu = min(S.least_mtu or mtu, mtu)
    p.kernel_fd = -1
    p.rx_queues, p.tx_queues = <uint8_t>info.nb_rx_queues, <uint8_t>info.nb_tx_queues
    p.brings = BRINGS_ALL if S.n_workers == 1 else 0
    p.to_kernel = <frame_ring **>aligned_memory(S.n_workers * sizeof(void *))
    p.from_kernel = <frame_ring **>aligned_memory(S.n_workers * sizeof(void *))
    for i in range(S.n_workers):
        p.to_kernel[i] = make_frame_ring(mtu + 22, &S.kernel_bell)
        p.from_kernel[i] = make_frame_ring(mtu + 22, &W[i].bell)
        W[i].tx[number].via = i if i < p.tx_queues else i % p.tx_queues
    p.started = 1
    S.n_ports = max(S.n_ports, number + 1)
    find_wait_descriptors(number, &info)
    return Port(number, name, info.driver_name.decode(), mac.to_bytes(6, "little"), p.rx_queues, p.tx_queues)


def add_port(name, rx_size=256, tx_size=512, mtu=1500, addresses=(), steering="auto"):
    cdef uint16_t number
    cdef rte_ether_addr mac
    started()
    need(not running, "Ports are added between init() and start().")
    within(mtu, 68, S.mtu, f"Port {name}: mtu")
    within(rx_size, 1, 65535, f"Port {name}: rx_size")
    within(tx_size, 1, 65535, f"Port {name}: tx_size")
    need(steering in STEERINGS, f"Port {name}: steering {steering!r}: expected one of {', '.join(STEERINGS)}.")
    if rte_eth_dev_get_port_by_name(name.encode(), &number) != 0:
        raise EngineError(f"Port {name}: EAL found no such device, or did not take it; its lines in the log say why.")
    *ring_sizes[number], no_rss = configure(number, name, rx_size, tx_size, mtu)
    rte_eth_macaddr_get(number, &mac)
    made = open_port(number, name, mtu, load48(mac.addr_bytes))
    settle_steering(number, name, steering, addresses, no_rss)
    set_local_addresses(number, addresses)
    return made


cdef make_port_ring(str name, rte_ring **place):
    place[0] = rte_ring_create(name.encode(), RING_PORT_SLOTS, 0, RING_F_SP_ENQ | RING_F_SC_DEQ)
    need(place[0] != NULL, f"Ring {name}: no memory: {eal_error()}.")


cdef play(uint16_t number, card):
    """Let a ring port stand for a card that steers."""
    cdef bytes key, reta
    cdef rss *r
    steering_of[number] = ("ring", "a ring port")
    if card == "flow":
        believe_flow(&S.ports[number])
        steering_of[number] = ("flow", "a ring port that plays a card")
    elif card is not None:
        key, reta = card
        r = <rss *>aligned_memory(sizeof(rss))
        rss_fill(r, key, reta, <uint32_t>len(reta))
        believe_rss(&S.ports[number], r)
        steering_of[number] = ("rss", "a ring port that plays a card")


def add_ring_port(name, queues=None, card=None, mtu=None):
    cdef rte_ring *rx[64]  # MAX_WORKERS
    cdef rte_ring *tx[64]
    cdef uint32_t n, i
    started()
    need(not running, "Ports are added between init() and start().")
    mtu = S.mtu if mtu is None else within(mtu, 68, S.mtu, f"Port {name}: mtu")
    n = S.n_workers if queues is None else <uint32_t>within(queues, 1, S.n_workers, f"Port {name}: queues")
    for i in range(n):
        make_port_ring(f"{name}-rx{i}", &rx[i])
        make_port_ring(f"{name}-tx{i}", &tx[i])
    number = rte_eth_from_rings(name.encode(), rx, n, tx, n, 0)
    need(number >= 0, f"Port {name}: cannot be made: {eal_error()}.")
    *ring_sizes[number], _ = configure(number, name, 1024, 1024, mtu)
    rings.extend([None] * (number + 1 - len(rings)))
    rings[number] = [(<size_t>rx[i], <size_t>tx[i]) for i in range(n)]
    made = open_port(number, name, mtu, int.from_bytes(bytes([2, 0, 0, 0, 0, number + 1]), "little"))
    S.ports[number].kernel_attached = 1
    play(number, card)
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
