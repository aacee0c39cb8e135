"""What is longer than the MTU of its way out, and may be fragmented, leaves in pieces (RFC 791 3.2, RFC 1812 5.2.6).

Only two devices of different MTU bring anything here. The pieces get an identification of the director's own: clients behind
one local address choose theirs without knowing of each other.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_alloc, rte_pktmbuf_append
from fastpath.layout cimport batch, worker
from fastpath.net.checksum cimport compute
from fastpath.net.frame cimport frame_at, load16, rte_be_to_cpu_16, rte_cpu_to_be_16, store16
from fastpath.net.headers cimport (
    ETH_LEN, IPV4_CHECKSUM, IPV4_FRAGMENT, IPV4_FRAGMENT_MASK, IPV4_ID, IPV4_MORE, IPV4_TOTAL_LENGTH,
    IPV4_VERSION_IHL)
from fastpath.net.ipv4 cimport blank_uncopied
from fastpath.table.ip_id cimport next_ip_id
from fastpath.table.tx cimport tx_add

cdef extern from *:
    """
    static inline int __pyx_f_8fastpath_5table_5split_split(struct worker *, uint32_t) APART RARE;
    """


cdef inline rte_mbuf *piece_of(worker *w, const uint8_t *eth, uint32_t header, uint32_t at, uint32_t n,
                               bint more) noexcept nogil:
    """A frame with n bytes of the payload from `at` on, behind a copy of its `header` bytes; NULL: no packet buffer."""
    cdef rte_mbuf *m = rte_pktmbuf_alloc(w.pool)
    cdef uint8_t *copy
    cdef uint16_t place
    if m == NULL:
        return NULL
    copy = <uint8_t *>rte_pktmbuf_append(m, <uint16_t>(ETH_LEN + header + n))
    memcpy(copy, eth, ETH_LEN + header)
    memcpy(copy + ETH_LEN + header, eth + ETH_LEN + header + at, n)
    copy += ETH_LEN
    place = rte_be_to_cpu_16(load16(copy + IPV4_FRAGMENT))  # of a fragment, which may come in pieces itself
    if at:
        blank_uncopied(copy, header)
    store16(copy + IPV4_TOTAL_LENGTH, rte_cpu_to_be_16(<uint16_t>(header + n)))
    store16(copy + IPV4_FRAGMENT, rte_cpu_to_be_16(<uint16_t>((place + (at >> 3)) | (IPV4_MORE if more else 0))))
    store16(copy + IPV4_CHECKSUM, 0)
    store16(copy + IPV4_CHECKSUM, compute(copy, header))
    return m


cdef inline bint is_long(const worker *w, uint32_t i) noexcept nogil:
    """Of a packet that is to be sent."""
    return w.batch.pkt[i].pkt_len > w.shared.ports[w.batch.out[i]].mtu + ETH_LEN


cdef inline bint split(worker *w, uint32_t i) noexcept nogil:
    """Send packet i in pieces, its own buffer stays; False: packet buffers have run out, and a part has not left."""
    cdef batch *b = &w.batch
    cdef uint8_t *eth = frame_at(b.pkt[i], 0)
    cdef uint8_t *ip = eth + ETH_LEN
    cdef uint32_t header = (ip[IPV4_VERSION_IHL] & 15) * 4
    cdef uint32_t payload = rte_be_to_cpu_16(load16(ip + IPV4_TOTAL_LENGTH)) - header
    cdef uint32_t step = (w.shared.ports[b.out[i]].mtu - header) & ~7
    cdef uint32_t at = 0, n
    cdef rte_mbuf *piece
    if not load16(ip + IPV4_FRAGMENT) & rte_cpu_to_be_16(IPV4_FRAGMENT_MASK):
        store16(ip + IPV4_ID, next_ip_id(w))
    while at < payload:
        n = payload - at if payload - at < step else step
        piece = piece_of(w, eth, header, at, n, at + n < payload)
        if piece == NULL:
            return False
        tx_add(w, b.out[i], piece)
        at += n
    return True
