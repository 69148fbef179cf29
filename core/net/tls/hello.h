/* The first bytes of a connection that should speak TLS. Pure functions. */
#ifndef MAGPIE_NET_TLS_HELLO_H
#define MAGPIE_NET_TLS_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HELLO_MAX = 16384,      /* bytes of a ClientHello with its records' headers; usual are 300 to 2000 */
    HELLO_RECORD_HEADER = 5 /* type, version, length */
};

enum hello {
    HELLO_MORE,  /* a ClientHello as far as it goes; more must come */
    HELLO_WHOLE, /* a whole one is there */
    HELLO_HTTP,  /* a request in plain HTTP */
    HELLO_OTHER, /* no TLS */
    HELLO_LONG   /* longer than HELLO_MAX, or made of too many records */
};

/* What the n bytes at p are. */
enum hello hello_look(const uint8_t *p, size_t n);
/* Bytes of the record that begins at p, with its header; 0: fewer are there. */
size_t hello_record(const uint8_t *p, size_t n);

#endif
