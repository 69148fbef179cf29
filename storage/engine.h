/*
 * What stands behind the doors of store.h: the one list of operations, and the table of functions that an engine is.
 *
 * For the doors (store.c) and for engines; whoever uses a store includes store.h alone. storage/local is the embedded
 * engine. Something remote is another engine, and not a database under storage/kv: its answers come late, and nobody
 * may wait for one.
 */
#ifndef MAGPIE_STORAGE_ENGINE_H
#define MAGPIE_STORAGE_ENGINE_H

#include "storage/store.h"

struct bus;
struct cluster_figures;
struct cluster_work;

/*
 * The operations. W rows change something, R rows read. A row X(NAME, name, WHOSE, field) is struct store_name, handed
 * over by store_name(). It belongs to what its slice `field` names: a conversation (CONV) or a user (USER), whose
 * queue, partition or reader it goes to. NONE: to neither (then `op`).
 *
 * From this list come enum store_op_kind, the doors, store_op_rows and the gate of the hub's tests. So do the embedded
 * engine's tables: apply_name() and read_name() in storage/local.
 */
/* clang-format off */
#define STORE_OPS(W, R)                                   \
    W(APPEND,        append,        CONV, conv)           \
    W(INBOX_ACK,     inbox_ack,     USER, user)           \
    W(USER_SAVE,     user_save,     USER, id)             \
    W(USER_FORGET,   user_forget,   USER, id)             \
    W(CHANNEL_SAVE,  channel_save,  CONV, conv)           \
    W(CHANNEL_CLOSE, channel_close, CONV, conv)           \
    W(CHANNEL_WIPE,  channel_wipe,  CONV, conv)           \
    W(MEMBER_PUT,    member_put,    CONV, conv)           \
    W(MEMBER_DEL,    member_del,    CONV, conv)           \
    W(MARK_READ,     mark_read,     CONV, conv)           \
    W(RECALL,        recall,        CONV, conv)           \
    W(EDIT,          edit,          CONV, conv)           \
    W(BLOCK,         block,         USER, user)           \
    W(NOTE_PUT,      note_put,      NONE, op)             \
    R(RANGE,         range,         CONV, conv)           \
    R(INBOX_PEEK,    inbox_peek,    USER, user)           \
    R(USER_LOAD,     user_load,     USER, id)             \
    R(GUESTS_DUE,    guests_due,    NONE, op)             \
    R(CONV_LOAD,     conv_load,     CONV, conv)           \
    R(MEMBERS,       members,       CONV, conv)           \
    R(CONVERSATIONS, conversations, USER, user)           \
    R(NOTES,         notes,         NONE, op)             \
    R(PAIRS,         pairs,         USER, user)           \
    R(SCAN,          scan,          NONE, op)             \
    R(SENT,          sent,          NONE, op)
/* clang-format on */

#define STORE_OP_KIND(NAME, ...) OP_##NAME,
enum store_op_kind { STORE_OPS(STORE_OP_KIND, STORE_OP_KIND) OP_KINDS };
#undef STORE_OP_KIND

enum store_whose { WHOSE_NONE, WHOSE_CONV, WHOSE_USER };

/* A row of the list, for those who treat operations alike. */
struct store_op_row {
    const char *name;       /* "append" */
    bool writes;            /* it changes something */
    enum store_whose whose; /* what it belongs to */
    uint16_t key;           /* where in the operation the slice is that names it; nothing for WHOSE_NONE */
};
extern const struct store_op_row store_op_rows[OP_KINDS];

/* The conversation's key or the user's id that an operation belongs to; empty: neither. Borrowed from the operation. */
static inline struct slice store_op_key(const struct store_op *op)
{
    const struct store_op_row *row = &store_op_rows[op->kind];
    return row->whose == WHOSE_NONE ? SLICE_NONE : *(const struct slice *)((const char *)op + row->key);
}

/*
 * An engine. Any thread calls any of these but `close`, and none but `agree` may wait for a disk or another machine.
 * All but post and work may be called at any time; `close` comes once, after everything else.
 */
struct store_engine {
    /* Takes an operation, whose `kind` says what it is. It sets `status`, the results, and hands it back by
     * store_answer(): later, in the order that store.h promises, and always. What an engine cannot do now it answers
     * with STORE_RETRY, or STORE_UNKNOWN once it may have been done. */
    void (*post)(struct store *s, struct store_op *op);
    void (*kick)(struct store *s); /* store_kick() */
    void (*configure)(struct store *s, const struct store_options *options);
    void (*clock_accept)(struct store *s);
    uint64_t (*time)(struct store *s);                   /* store_time_ms() */
    uint64_t (*age)(struct store *s, uint64_t stamp_ms); /* store_age_ms() */
    uint64_t (*date)(struct store *s);                   /* store_date_ms() */
    void (*stats)(struct store *s, struct store_stats *out);
    void (*disk)(struct store *s, struct store_disk *out); /* NULL: none of this machine's */
    /* Takes work on the whole, and hands it back as `post` does. An engine that has nothing to flush, compact or copy
     * answers STORE_RETRY and `why`. */
    void (*work)(struct store *s, struct store_work *w);
    /* store_agree(), which may wait for other machines; NULL: the data is this server's alone. */
    int (*agree)(struct store *s, const char *name, struct slice proposal, bool replace, struct buf *out, char *why,
                 size_t why_size);
    void (*cluster)(struct store *s,
                    struct cluster_figures *out); /* of cluster.h; NULL: the data is this server's alone */
    /* Takes what an operator wants (cluster.h), and hands it back as `post` does; NULL: likewise. */
    void (*cluster_work)(struct store *s, struct cluster_work *w);
    /* Answers what is under way, then frees the store. */
    void (*close)(struct store *s);
};

/* What the doors know of an open store: the engine's own struct begins with this. */
struct store {
    const struct store_engine *engine;
    struct bus *bus; /* of bus_engine.h; the engine's; NULL: the server is alone */
};

/* Calls `done`: the mail of every operation. */
static inline void store_op_run(void *owner, struct mail *mail)
{
    struct store_op *op = (struct store_op *)mail; /* its first member */
    op->done(owner, op);
}

/* For the doors: what an operation has that is about to be handed over. */
static inline void store_op_begin(struct store_op *op, uint8_t kind)
{
    op->mail = (struct mail){.run = store_op_run};
    op->kind = kind;
    op->note = 0;
}

/* Hands an operation back to where it came from; it is the caller's again. Any thread. */
static inline void store_answer(struct store_op *op)
{
    mailbox_post(op->home, &op->mail);
}

#endif
