/* Frames as an input asks for them: its own bytes, but that a few of them can be made to fit what the director knows. Chance
 * alone would not find the local port that the director has chosen, nor a checksum. */
#ifndef JUPITER_TUPLES_H
#define JUPITER_TUPLES_H

#include <arpa/inet.h>
#include <string.h>
#include "layout.h"

enum { ETH = 14, IP_HEADER = 20, FRAME_MAX = 1900, LEFT = 8, LEFT_BYTES = 160 };

/* How a frame's addresses and ports are chosen: low bits of its `how`. */
enum { AS_IT_IS, TO_SERVICE, ANSWER, TO_ADDRESS, ERROR_OF_ROUTER, ERROR_OF_HOST, FRAGMENT_IN, FRAGMENT_OUT };
enum { FIX_KIND = 7, FIX_LENGTHS = 8, FIX_CHECKSUMS = 16, FIX_MAC = 32, NO_HEADROOM = 64, TWO_SEGMENTS = 128 };

static const uint8_t clients[4][4] = {{1, 1, 1, 1}, {1, 1, 1, 9}, {1, 1, 1, 10}, {1, 1, 2, 1}}; /* scene.py's CLIENTS */

/* The last frames that left for the network. */
static struct left {
    uint32_t port, n;
    uint8_t bytes[LEFT_BYTES];
} left[LEFT];
static uint32_t n_left;

static uint16_t word(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static void put_word(uint8_t *p, uint32_t x) { p[0] = (uint8_t)(x >> 8), p[1] = (uint8_t)x; }

static uint32_t header_of(const uint8_t *ip) { return (ip[0] & 15) * 4u; }

/* One's complement sum, not yet inverted, of n bytes and what was added before. */
static uint16_t sum(const uint8_t *p, uint32_t n, uint32_t before)
{
    for (; n > 1; p += 2, n -= 2)
        before += word(p);
    before += n ? (uint32_t)p[0] << 8 : 0;
    before = (before & 0xffff) + (before >> 16);
    return (uint16_t)((before & 0xffff) + (before >> 16));
}

/* Where the checksum of a whole TCP, UDP or ICMP packet stands, NULL where there is none; `pseudo`: what its pseudo header
 * adds. The packet's own lengths must be right. */
static uint8_t *l4_checksum(uint8_t *ip, uint32_t *pseudo)
{
    static const struct { uint8_t protocol, offset, least; } kinds[] = {{1, 2, 8}, {6, 16, 20}, {17, 6, 8}};
    uint32_t header = header_of(ip), n = word(ip + 2) - header;
    if (word(ip + 6) & 0x3fff)
        return NULL;
    for (unsigned i = 0; i < 3; i++)
        if (ip[9] == kinds[i].protocol && n >= kinds[i].least) {
            *pseudo = i ? (uint32_t)sum(ip + 12, 8, 0) + ip[9] + n : 0;
            return ip + header + kinds[i].offset;
        }
    return NULL;
}

static int is_ipv4(const uint8_t *f, uint32_t n)
{
    const uint8_t *ip = f + ETH;
    return n >= ETH + IP_HEADER && word(f + 12) == 0x800 && ip[0] >> 4 == 4 && header_of(ip) >= IP_HEADER &&
           word(ip + 2) >= header_of(ip) && ETH + word(ip + 2) <= n;
}

/* Which checksums of a frame are right: MARK_ bits. */
static uint32_t right_checksums(uint8_t *f, uint32_t n)
{
    uint8_t *ip = f + ETH, *place;
    uint32_t pseudo, marks = 0, header;
    if (!is_ipv4(f, n))
        return 0;
    header = header_of(ip);
    if (sum(ip, header, 0) == 0xffff)
        marks |= MARK_IP_RIGHT;
    place = l4_checksum(ip, &pseudo);
    if (place != NULL && (ip[9] != 17 || word(place)) && sum(ip + header, word(ip + 2) - header, pseudo) == 0xffff)
        marks |= MARK_L4_RIGHT;
    return marks;
}

static void fix_lengths(uint8_t *f, uint32_t n)
{
    uint8_t *ip = f + ETH;
    uint32_t header = header_of(ip);
    put_word(ip + 2, n - ETH);
    if (ip[9] == 17 && !(word(ip + 6) & 0x1fff) && n >= ETH + header + 8)
        put_word(ip + header + 4, n - ETH - header);
}

static void fix_checksums(uint8_t *f, uint32_t n)
{
    uint8_t *ip = f + ETH, *place;
    uint32_t pseudo, header = header_of(ip);
    uint16_t right;
    if (!is_ipv4(f, n))
        return;
    put_word(ip + 10, 0);
    put_word(ip + 10, (uint16_t)~sum(ip, header, 0));
    place = l4_checksum(ip, &pseudo);
    if (place == NULL || (ip[9] == 17 && !word(place)))
        return;
    put_word(place, 0);
    right = (uint16_t)~sum(ip + header, word(ip + 2) - header, pseudo);
    put_word(place, ip[9] == 17 && !right ? 0xffff : right);
}

/* From a client to a service: its address, and port and protocol unless they shall stay. */
static void to_service(const struct shared *s, uint8_t *f, uint32_t n, uint8_t place, int address_only)
{
    const struct service *to = s->services[place & 7];
    uint8_t *ip = f + ETH, *l4 = ip + header_of(ip);
    if (to == NULL)
        return;
    memcpy(ip + 12, clients[place >> 3 & 3], 4);
    memcpy(ip + 16, &to->vaddr, 4);
    if (address_only)
        return;
    ip[9] = to->protocol;
    if (l4 + 4 <= f + n) {
        put_word(l4, 1000u + (place >> 5));
        memcpy(l4 + 2, &to->vport, 2);
    }
}

/* What answers a frame that left: its ends turned round. */
static void answer(const struct left *to, uint8_t *f, uint32_t n, int address_only)
{
    uint8_t *ip = f + ETH, *l4 = ip + header_of(ip);
    const uint8_t *theirs = to->bytes + ETH, *their_l4 = theirs + header_of(theirs);
    memcpy(f + 6, to->bytes, 6);
    memcpy(ip + 12, theirs + 16, 4);
    memcpy(ip + 16, theirs + 12, 4);
    if (address_only)
        return;
    ip[9] = theirs[9];
    if (l4 + 4 <= f + n && their_l4 + 4 <= to->bytes + to->n) {
        memcpy(l4, their_l4 + 2, 2);
        memcpy(l4 + 2, their_l4, 2);
    }
}

/* An ICMP error about a frame that left, quoting as much of it as there is room for. */
static void error_about(const struct left *about, uint8_t *f, uint32_t n, int of_host)
{
    uint8_t *ip = f + ETH, *quoted = ip + header_of(ip) + 8;
    uint32_t room = quoted < f + n ? (uint32_t)(f + n - quoted) : 0;
    if (of_host)
        memcpy(ip + 12, about->bytes + ETH + 16, 4);
    memcpy(ip + 16, about->bytes + ETH + 12, 4);
    ip[9] = 1;
    memcpy(quoted, about->bytes + ETH, room < about->n - ETH ? room : about->n - ETH);
}

static void fix_tuple(const struct shared *s, uint8_t *f, uint32_t n, uint8_t kind, uint8_t place)
{
    const struct left *to = n_left ? &left[(n_left - 1 - place % (n_left < LEFT ? n_left : LEFT)) % LEFT] : NULL;
    uint8_t *ip = f + ETH;
    if (kind == TO_SERVICE || kind == TO_ADDRESS || kind == FRAGMENT_IN)
        to_service(s, f, n, place, kind != TO_SERVICE);
    else if (to != NULL && (kind == ANSWER || kind == FRAGMENT_OUT))
        answer(to, f, n, kind == FRAGMENT_OUT);
    else if (to != NULL && (kind == ERROR_OF_ROUTER || kind == ERROR_OF_HOST))
        error_about(to, f, n, kind == ERROR_OF_HOST);
    if (kind == FRAGMENT_IN || kind == FRAGMENT_OUT)
        put_word(ip + 4, place >> 6); /* few identifications, so that fragments meet */
}

/* All that `how` asks for. */
static void fix(const struct shared *s, uint8_t *f, uint32_t n, uint32_t port, uint8_t how, uint8_t place)
{
    if (how & FIX_MAC && n >= ETH) {
        memcpy(f, &s->ports[port].mac, 6);
        put_word(f + 12, 0x800);
    }
    if (n < ETH + IP_HEADER)
        return;
    fix_tuple(s, f, n, how & FIX_KIND, place);
    if (how & FIX_LENGTHS)
        fix_lengths(f, n);
    if (how & FIX_CHECKSUMS)
        fix_checksums(f, n);
}

static void remember_left(uint32_t port, const uint8_t *f, uint32_t n)
{
    struct left *l = &left[n_left % LEFT];
    if (!is_ipv4(f, n))
        return;
    n_left++;
    l->port = port;
    l->n = n < LEFT_BYTES ? n : LEFT_BYTES;
    memcpy(l->bytes, f, l->n);
}

#endif
