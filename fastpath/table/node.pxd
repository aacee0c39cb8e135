"""Doubly linked lists of node numbers in one array: heads first, then a node a connection. Every head is a circle."""

from libc.stdint cimport uint32_t

from fastpath.layout cimport node


cdef inline void list_init(node *nodes, uint32_t head) noexcept nogil:
    nodes[head].next = head
    nodes[head].prev = head


cdef inline bint list_is_empty(const node *nodes, uint32_t head) noexcept nogil:
    return nodes[head].next == head


cdef inline void list_insert_between(node *nodes, uint32_t before, uint32_t n, uint32_t after) noexcept nogil:
    nodes[n].prev = before
    nodes[n].next = after
    nodes[before].next = n
    nodes[after].prev = n


cdef inline void list_push(node *nodes, uint32_t head, uint32_t n) noexcept nogil:
    list_insert_between(nodes, head, n, nodes[head].next)


cdef inline void list_append(node *nodes, uint32_t head, uint32_t n) noexcept nogil:
    list_insert_between(nodes, nodes[head].prev, n, head)


cdef inline void list_unlink(node *nodes, uint32_t n) noexcept nogil:
    nodes[nodes[n].prev].next = nodes[n].next
    nodes[nodes[n].next].prev = nodes[n].prev


cdef inline uint32_t list_pop(node *nodes, uint32_t head) noexcept nogil:
    """The first of a list that is not empty, unlinked."""
    cdef uint32_t n = nodes[head].next
    list_unlink(nodes, n)
    return n
