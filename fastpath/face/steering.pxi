# What a port's card does with several queues, and why it cannot do more. Part of engine.pyx.
#
# Each function returns None when the port does as asked, else the reason, which goes on after "Port NAME: ".

# Microsoft's key of the RSS verification suite: published, the same on every port and director, and its ports and low
# address bits reach all entries of a RETA. Only the first RSS_KEY_BYTES count for IPv4; a longer key repeats it.
RSS_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
RSS_UNFIT = {"net_tap": "crashes when it has several queues with RSS"}

cdef enum:
    RSS_WANTED = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP
cdef enum:
    MAX_KEY = 256  # rss_key_len is a byte
cdef enum:
    RETA_GROUPS = MAX_RETA // 64  # RTE_ETH_RETA_GROUP_SIZE

cdef dict flow_rules = {}  # port -> its rules, as integers


cdef str too_few_queues(const rte_eth_dev_info *info, uint32_t n_queues):
    if info.max_rx_queues >= n_queues:
        return None
    return f"the card has {info.max_rx_queues} receive queue{'s' * (info.max_rx_queues != 1)} for {n_queues} workers"


cdef str unhashed(uint64_t hashed, str who):
    """Both protocols must be steered by their ports."""
    missing = [name for bit, name in ((RTE_ETH_RSS_NONFRAG_IPV4_TCP, "TCP"), (RTE_ETH_RSS_NONFRAG_IPV4_UDP, "UDP"))
               if not hashed & <uint64_t>bit]
    return f"{who} does not hash {' and '.join(missing)} ports" if missing else None


cdef str why_no_rss(const rte_eth_dev_info *info, uint32_t n_queues):
    """Before the port is configured: whether ask_for_rss() makes sense."""
    driver = info.driver_name.decode()
    if driver in RSS_UNFIT:
        return f"the driver {driver} {RSS_UNFIT[driver]}"
    if not info.flow_type_rss_offloads:
        return f"the driver {driver} offers no RSS"
    return too_few_queues(info, n_queues) or unhashed(info.flow_type_rss_offloads, "the card")


cdef uint8_t key_size(const rte_eth_dev_info *info) noexcept:
    return info.hash_key_size or 40  # a driver that does not say: rte_ethdev.h's own size


cdef ask_for_rss(rte_eth_conf *conf, const rte_eth_dev_info *info, uint8_t *key):
    """Before the port is configured. `key`: MAX_KEY bytes that live until it is."""
    cdef bytes ours = RSS_KEY * 7
    memcpy(key, <const uint8_t *>ours, MAX_KEY)
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS
    conf.rx_adv_conf.rss_conf.rss_key = key
    conf.rx_adv_conf.rss_conf.rss_key_len = key_size(info)
    conf.rx_adv_conf.rss_conf.rss_hf = RSS_WANTED & info.flow_type_rss_offloads


cdef str read_rss(uint16_t number, uint32_t n_queues, rss *r):
    """After the port has started: lay its RETA out over the queues, then believe only what it reports itself."""
    cdef rte_eth_dev_info info
    cdef uint8_t key[MAX_KEY]
    cdef uint8_t reta[MAX_RETA]
    if rte_eth_dev_info_get(number, &info) != 0:
        return "the port cannot be asked for its abilities"
    reason = (too_few_queues(&info, n_queues) or read_key(number, &info, key)
              or read_reta(number, &info, n_queues, reta))
    if reason is None:
        rss_fill(r, key, reta, info.reta_size)
    return reason


cdef str read_key(uint16_t number, const rte_eth_dev_info *info, uint8_t *key):
    cdef rte_eth_rss_conf conf
    cdef int rc
    driver = info.driver_name.decode()
    if key_size(info) < RSS_KEY_BYTES:
        return f"the driver {driver} has an RSS key of {info.hash_key_size} bytes, {RSS_KEY_BYTES} needed"
    memset(key, 0, MAX_KEY)
    conf.rss_key, conf.rss_key_len, conf.rss_hf = key, key_size(info), 0
    rc = rte_eth_dev_rss_hash_conf_get(number, &conf)
    if rc != 0:
        return f"the driver {driver} does not tell its RSS key ({rte_strerror(-rc).decode()})"
    if not any(key[i] for i in range(RSS_KEY_BYTES)):
        return f"the driver {driver} tells an RSS key of zeros"
    return unhashed(conf.rss_hf, "as configured, the card")


cdef str read_reta(uint16_t number, const rte_eth_dev_info *info, uint32_t n_queues, uint8_t *reta):
    cdef rte_eth_rss_reta_entry64 groups[RETA_GROUPS]
    cdef uint32_t i, size = info.reta_size
    cdef int rc
    driver = info.driver_name.decode()
    if size == 0 or size > MAX_RETA or size & (size - 1):
        return f"the driver {driver} has an RSS table of {size} entries, a power of two up to {MAX_RETA} needed"
    memset(groups, 0, sizeof(groups))
    for i in range(size):
        groups[i // 64].mask |= <uint64_t>1 << (i % 64)
        groups[i // 64].reta[i % 64] = i % n_queues
    rte_eth_dev_rss_reta_update(number, groups, size)  # a driver that refuses has a table of its own
    for i in range(size):
        groups[i // 64].reta[i % 64] = 0xFFFF  # what the driver leaves out is seen
    rc = rte_eth_dev_rss_reta_query(number, groups, size)
    if rc != 0:
        return f"the driver {driver} does not tell its RSS table ({rte_strerror(-rc).decode()})"
    for i in range(size):
        if groups[i // 64].reta[i % 64] >= n_queues:
            return (f"the driver {driver} gives RSS entry {i} to queue {groups[i // 64].reta[i % 64]}, "
                    f"of {n_queues} queues")
        reta[i] = <uint8_t>groups[i // 64].reta[i % 64]
    idle = set(range(n_queues)) - {reta[i] for i in range(size)}
    return f"the driver {driver} gives no RSS entry to queue {min(idle)}" if idle else None


cdef str make_flow_rules(uint16_t number, addresses, uint32_t n_queues):
    """One rule a local address (4 bytes): address i to queue i % n_queues. All of them, or none."""
    cdef rte_eth_dev_info info
    cdef rte_flow_error error
    cdef rte_flow *rule
    cdef uint32_t address
    if rte_eth_dev_info_get(number, &info) != 0:
        return "the port cannot be asked for its abilities"
    reason = too_few_queues(&info, n_queues)
    if reason is None and len(addresses) < n_queues:
        reason = f"{len(addresses)} local address{'es' * (len(addresses) != 1)} for {n_queues} workers"
    if reason is not None:
        return reason
    drop_flow_rules(number)
    made = flow_rules[number] = []
    for i, text in enumerate(addresses):
        address = load32(<bytes>text)
        error.message = NULL
        rule = flow_to_queue(number, address, <uint16_t>(i % n_queues), &error)
        if rule == NULL:
            words = error.message.decode() if error.message != NULL else eal_error()
            drop_flow_rules(number)
            return f"the driver {info.driver_name.decode()} takes no rule for a local address ({words})"
        made.append(<size_t>rule)
    return None


cdef drop_flow_rules(uint16_t number):
    cdef rte_flow_error error
    for rule in flow_rules.pop(number, ()):
        rte_flow_destroy(number, <rte_flow *><size_t>rule, &error)
