/*
 * What proxies say of those whom they speak for: the PROXY protocol (versions 1 and 2, as HAProxy's
 * doc/proxy-protocol.txt has them) before anything else on a connection, Forwarded (RFC 7239) and X-Forwarded-For in a
 * request's head. Whether a proxy is believed is a list of the config, listen.proxy. Pure functions.
 */
#ifndef MAGPIE_NET_PROXY_H
#define MAGPIE_NET_PROXY_H

#include "core/base/err.h"
#include "core/net/address.h"

#include <sys/types.h>

struct http_head;

enum {
    PROXIES_MAX = 256,      /* entries of a list */
    PROXY_LINE_MAX = 107,   /* bytes of a header of version 1, its CRLF included */
    PROXY_HEADER_MAX = 4096 /* of version 2, extensions (TLVs) included; 536 are usual at most */
};

/* Peers that are believed. */
struct proxies {
    struct network nets[PROXIES_MAX];
    uint32_t count;  /* of nets */
    bool unix_peers; /* who comes over a Unix socket is believed as well */
};

/* Adds an entry: an address, a network, or "unix:". False: it is none, or the list is full. */
bool proxies_add(struct proxies *list, const char *entry);
bool proxies_have(const struct proxies *list, const struct address *a);

struct proxy_header {
    bool named;            /* false: the proxy speaks for itself, or does not know for whom: the peer stays the peer */
    struct address source; /* whom it speaks for */
};

/* Takes a PROXY header off p[0..n). Its size; 0: more must come to tell; ERR_NOTFOUND: what comes is none, whatever
 * follows; ERR_INVALID: it is one, and is malformed: *why (static). Neither a request of HTTP, nor a frame of our own
 * (within limits.frame and with a body of JSON), nor TLS can begin as one does. */
ssize_t proxy_parse(const uint8_t *p, size_t n, struct proxy_header *h, const char **why);

/* Whether p[0..n) begins with what begins a PROXY header, as far as that can be seen in 4 bytes or more. */
bool proxy_begins(const uint8_t *p, size_t n);
/* What is said to a peer that sends one, and is not believed. */
extern const char proxy_stranger[];

/* Whom a request was forwarded for: of the addresses that Forwarded or X-Forwarded-For list, the last that is no proxy
 * of the list itself; where all are, the first of them. 1; 0: nobody is named, or the nearest proxy does not know;
 * ERR_INVALID: malformed, or the two fields name different ones (which one is the proxy's own cannot be told then);
 * *why (static). */
int proxy_forwarded(const struct http_head *h, const struct proxies *list, struct address *out, const char **why);
/* Whether anything in the head tells that a proxy has written it, or has handed it on. Where it is false one still may
 * have. */
bool proxy_in_head(const struct http_head *h);

#endif
