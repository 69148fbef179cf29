/*
 * Reading a conversation: its head, the first visible seq, a page of messages. For all operations that show messages.
 * Engine's thread.
 *
 * One call does for the usual page. Where the newest seq is known, or nearly, that is an HMGET of head and rows, which
 * costs Redis a tenth of the function `range`. What it returns is judged by rule.h. Where rows have ended, or do not
 * fit into one reply, others follow.
 */
#ifndef MAGPIE_STORAGE_REDIS_HISTORY_H
#define MAGPIE_STORAGE_REDIS_HISTORY_H

#include "storage/page.h"
#include "storage/redis/client/call.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/layout.h"
#include "storage/redis/rule.h"

struct history {
    /* in */
    struct slice conv; /* its key; borrowed until done */
    bool ordered;      /* among the changes of the conversation, behind those that were handed over before */
    bool has_after, has_before;
    uint64_t after, before; /* exclusive seqs */
    uint32_t limit;         /* messages at most; 0: none, only the head and `first` */
    uint32_t page_bytes;    /* as in store_range; 0: no bound */
    uint64_t until;         /* messages with an id up to this are passed over; 0: none */
    void (*done)(struct redis *r, struct history *h, enum store_status status);
    void *ctx; /* the caller's */
    /* out, with STORE_OK */
    /* kind 0: there is no such conversation, or nothing was ever said. low: what the archive has counts as there. */
    struct layout_head head;
    struct layout_rule rule;  /* by which it was judged */
    uint64_t first;           /* as in store_range */
    bool more;                /* likewise */
    struct page_builder page; /* ascending; the caller's to finish, with page_finish(), whatever the status */
    /* history.c's */
    struct call call;
    uint64_t next;                /* the row with which the page goes on */
    uint64_t start;               /* plain: the first row that was asked for */
    uint64_t was;                 /* its newest seq, as far as this node had told, when it was asked for */
    uint64_t probe;               /* the row with which the search for `first` goes on */
    uint64_t bound;               /* downward: the lowest row that is wanted */
    uint64_t hot;                 /* with `cold`: rows up to this one are in the archive */
    bool up, filled, found, told; /* direction; no more rows are wanted; `first` is known; the head is */
    bool cold;                    /* rows of it that show have left Redis */
    bool plain;                   /* the call is no function, but an HMGET of rows that are thought to be there */
    bool asked;                   /* … and the archive was asked for the first of them */
    struct cold_read read;
    struct archive_oldest oldest;
};

/* Begins. done is called once, later. Everything but what is in is overwritten. */
void history_read(struct redis *r, struct history *h);

#endif
