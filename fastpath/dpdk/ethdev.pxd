"""rte_ethdev, rte_eth_ring and the vdev bus: declarations only."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_ring


cdef extern from "<rte_dev.h>" nogil:
    struct rte_device:
        pass
    int rte_dev_remove(rte_device *device)

cdef extern from "<rte_ethdev.h>" nogil:
    enum:
        RTE_ETH_LINK_UP
        RTE_ETH_RX_OFFLOAD_IPV4_CKSUM
        RTE_ETH_MQ_RX_RSS
        RTE_ETH_RSS_NONFRAG_IPV4_TCP, RTE_ETH_RSS_NONFRAG_IPV4_UDP
        RTE_ETH_RETA_GROUP_SIZE
    struct rte_ether_addr:
        unsigned char addr_bytes[6]
    ctypedef int rte_eth_rx_mq_mode "enum rte_eth_rx_mq_mode"
    struct rte_eth_rxmode:
        rte_eth_rx_mq_mode mq_mode
        uint32_t mtu
        uint64_t offloads
    struct rte_eth_rss_conf:
        uint8_t *rss_key
        uint8_t rss_key_len
        uint64_t rss_hf
    struct rx_adv_conf:  # has no name in DPDK
        rte_eth_rss_conf rss_conf
    struct rte_eth_conf:
        rte_eth_rxmode rxmode
        rx_adv_conf rx_adv_conf
    struct rte_eth_rss_reta_entry64:
        uint64_t mask
        uint16_t reta[64]  # RTE_ETH_RETA_GROUP_SIZE
    struct rte_eth_dev_info:
        rte_device *device
        const char *driver_name
        unsigned int if_index
        uint16_t max_rx_queues, max_tx_queues, nb_rx_queues, nb_tx_queues, min_mtu, max_mtu
        uint64_t rx_offload_capa, flow_type_rss_offloads
        uint16_t reta_size
        uint8_t hash_key_size
    struct rte_eth_stats:
        uint64_t ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf
    struct rte_eth_link:
        uint32_t link_speed
        uint16_t link_status
    uint16_t rte_eth_rx_burst(uint16_t port, uint16_t queue, rte_mbuf **pkts, uint16_t n)
    uint16_t rte_eth_tx_burst(uint16_t port, uint16_t queue, rte_mbuf **pkts, uint16_t n)
    int rte_eth_dev_get_port_by_name(const char *name, uint16_t *port)
    int rte_eth_dev_info_get(uint16_t port, rte_eth_dev_info *info)
    int rte_eth_dev_configure(uint16_t port, uint16_t rxq, uint16_t txq, const rte_eth_conf *conf)
    int rte_eth_dev_adjust_nb_rx_tx_desc(uint16_t port, uint16_t *rx, uint16_t *tx)
    int rte_eth_rx_queue_setup(uint16_t port, uint16_t q, uint16_t n, unsigned int socket, void *conf, void *pool)
    int rte_eth_tx_queue_setup(uint16_t port, uint16_t q, uint16_t n, unsigned int socket, void *conf)
    int rte_eth_dev_start(uint16_t port)
    int rte_eth_dev_stop(uint16_t port)
    int rte_eth_dev_close(uint16_t port)
    int rte_eth_promiscuous_enable(uint16_t port)
    int rte_eth_promiscuous_disable(uint16_t port)
    int rte_eth_allmulticast_enable(uint16_t port)
    int rte_eth_macaddr_get(uint16_t port, rte_ether_addr *mac)
    int rte_eth_dev_socket_id(uint16_t port)
    int rte_eth_stats_get(uint16_t port, rte_eth_stats *stats)
    int rte_eth_dev_rss_hash_conf_get(uint16_t port, rte_eth_rss_conf *conf)
    int rte_eth_dev_rss_reta_query(uint16_t port, rte_eth_rss_reta_entry64 *groups, uint16_t size)
    int rte_eth_dev_rss_reta_update(uint16_t port, rte_eth_rss_reta_entry64 *groups, uint16_t size)
    int rte_eth_link_get_nowait(uint16_t port, rte_eth_link *link)

cdef extern from "<rte_eth_ring.h>" nogil:
    int rte_eth_from_rings(const char *name, rte_ring **rx, unsigned int n_rx, rte_ring **tx, unsigned int n_tx,
                           unsigned int socket)
