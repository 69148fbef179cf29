/*
 * Lua's string patterns (reference manual 5.1, section 5.4.1), matched by a backtracker of our own that can be
 * interrupted: the one in LuaJIT is C code that no hook reaches, and "(.-)*x" on a few kilobytes would hold a shard for
 * hours.
 *
 * A pattern is compiled into nodes first. Pure; any thread.
 */
#ifndef MAGPIE_SCRIPT_PATTERN_H
#define MAGPIE_SCRIPT_PATTERN_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { PATTERN_CAPTURES = 32, PATTERN_MAX = 32768 /* bytes */ };
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

struct pattern_node {
    uint8_t type;  /* what it matches */
    uint8_t quant; /* 0, '*', '+', '-' or '?' */
    uint8_t a, b;  /* a byte; the two of %b; the number of a capture */
    uint32_t set;  /* index of its set of bytes */
};

struct pattern_set {
    uint64_t bits[4];
};

struct pattern {
    struct pattern_node *nodes; /* the caller's memory */
    struct pattern_set *sets;
    uint32_t node_count, set_count;
    bool anchored; /* began with ^ */
    uint8_t captures;
};

struct pattern_match {
    const char *subject, *end;
    struct {
        const char *p;
        intptr_t n; /* bytes, CAPTURE_OPEN or CAPTURE_POSITION */
    } capture[PATTERN_CAPTURES];
    uint8_t level;           /* captures begun */
    uint32_t steps;          /* until `poll` is called again */
    void (*poll)(void *ctx); /* may leave by longjmp; NULL: nothing */
    void *ctx;
    int depth;       /* left */
    const char *why; /* what went wrong, when the match ended for that */
};

/* Bytes of memory that a pattern of n bytes needs at most: for nodes, then sets. */
size_t pattern_memory(size_t n);
/* `memory`: pattern_memory(text.n) bytes, aligned to 8. anchors: whether a leading ^ is one. NULL, or what is wrong. */
const char *pattern_compile(struct pattern *p, struct slice text, bool anchors, void *memory);
/* Matches at this very place. The end of the match, or NULL (with m->why when it was given up). m->subject, end, poll,
 * ctx are the caller's. */
const char *pattern_match_at(struct pattern_match *m, const struct pattern *p, const char *at);

#endif
