"""The memory of a worker's connections: a memfd, on huge pages where there are some, with a header that says what it is."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.layout cimport (
    LIST_HEADS, REGION_MAGIC, REGION_VERSION, bucket, connection, node, region, table)
from fastpath.table.node cimport list_init

cdef extern from *:
    """
    #define _GNU_SOURCE 1
    #include <linux/mempolicy.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    enum { PAGE = 4096, HUGE_PAGE = 2 << 20, NODES = 64 };
    """
    enum:
        PAGE, HUGE_PAGE, NODES
        MFD_CLOEXEC, MFD_HUGETLB, PROT_READ, PROT_WRITE, MAP_SHARED, MADV_HUGEPAGE
        MPOL_PREFERRED, SYS_mbind
    void *MAP_FAILED
    int memfd_create(const char *name, unsigned int flags) noexcept nogil
    int ftruncate(int fd, long length) noexcept nogil
    void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset) noexcept nogil
    int madvise(void *addr, size_t length, int advice) noexcept nogil
    int close(int fd) noexcept nogil
    long syscall(long number, ...) noexcept nogil


cdef inline uint64_t page_up(uint64_t n) noexcept nogil:
    return (n + PAGE - 1) & ~<uint64_t>(PAGE - 1)


cdef inline void region_plan(region *r, uint32_t capacity) noexcept nogil:
    """Where everything lies for this many connections: 64 bytes each, 8 of list node, and 20 of index: two entries, in
    buckets that are 0.8 full when every connection is in use. 92 bytes a connection."""
    r.magic = REGION_MAGIC
    r.version = REGION_VERSION
    r.connection_size = sizeof(connection)
    r.bucket_size = sizeof(bucket)
    r.list_heads = LIST_HEADS
    r.capacity = capacity
    r.n_buckets = <uint32_t>(<uint64_t>capacity * 10 // 32) + 16
    r.buckets_at = page_up(sizeof(region))
    r.connections_at = r.buckets_at + page_up(<uint64_t>r.n_buckets * sizeof(bucket))
    r.nodes_at = r.connections_at + page_up(<uint64_t>capacity * sizeof(connection))
    r.bytes = r.nodes_at + page_up((<uint64_t>capacity + LIST_HEADS) * sizeof(node))
    r.bytes = (r.bytes + HUGE_PAGE - 1) & ~<uint64_t>(HUGE_PAGE - 1)


cdef inline void prefer_node(void *memory, uint64_t bytes, int node) noexcept nogil:
    """Pages not yet touched come from this NUMA node, whoever touches them; from another where it has none, and where the
    kernel has no nodes or may not be asked: what lies far away is slower, nothing else."""
    cdef unsigned long nodes
    if 0 <= node < NODES:
        nodes = <unsigned long>1 << node
        syscall(SYS_mbind, memory, bytes, MPOL_PREFERRED, &nodes, <unsigned long>NODES + 1, 0)  # the kernel takes 1 off


cdef inline region *region_map(uint64_t bytes, int node, bint *huge) noexcept nogil:
    """Fresh memory, all zero, if possible on that NUMA node, or NULL. `huge`: whether it lies on reserved huge pages."""
    cdef unsigned int flags = MFD_CLOEXEC | MFD_HUGETLB
    cdef void *memory = MAP_FAILED
    cdef int fd
    huge[0] = True
    while True:
        fd = memfd_create("jupiter-connections", flags)
        if fd >= 0:
            if ftruncate(fd, <long>bytes) == 0:
                memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
            close(fd)
        if memory != MAP_FAILED:
            prefer_node(memory, bytes, node)
            if not huge[0]:
                madvise(memory, bytes, MADV_HUGEPAGE)  # honoured where the kernel's shmem_enabled allows it
            return <region *>memory
        if not huge[0]:
            return NULL
        huge[0] = False
        flags = MFD_CLOEXEC


cdef inline void table_open(table *t, region *r) noexcept nogil:
    """The worker's view of a region whose header is filled in."""
    t.region = r
    t.buckets = <bucket *>(<uint8_t *>r + r.buckets_at)
    t.connections = <connection *>(<uint8_t *>r + r.connections_at)
    t.nodes = <node *>(<uint8_t *>r + r.nodes_at)
    t.n_buckets = r.n_buckets
    t.capacity = r.capacity
    t.half_open_limit = r.capacity // 4
    t.hash_key[0] = r.hash_key[0]
    t.hash_key[1] = r.hash_key[1]


cdef inline void region_init(region *r, uint32_t capacity, uint64_t key0, uint64_t key1) noexcept nogil:
    """Fill in the header and the list heads of fresh memory."""
    cdef uint32_t head
    region_plan(r, capacity)
    r.hash_key[0] = key0
    r.hash_key[1] = key1
    for head in range(LIST_HEADS):
        list_init(<node *>(<uint8_t *>r + r.nodes_at), head)
