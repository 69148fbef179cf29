/*
 * What stands behind the doors of bus.h: the one list of operations, and the table of functions that a bus is. For the
 * doors (bus.c) and for engines on other machines, which give their struct store a bus when it is opened.
 */
#ifndef MAGPIE_STORAGE_BUS_ENGINE_H
#define MAGPIE_STORAGE_BUS_ENGINE_H

#include "storage/bus.h"

/* A row X(NAME, name) is struct bus_name, handed over by bus_name(). */
/* clang-format off */
#define BUS_OPS(X)               \
    X(FOLLOW,      follow)       \
    X(UNFOLLOW,    unfollow)     \
    X(SESSION_PUT, session_put)  \
    X(SESSION_DEL, session_del)  \
    X(LOOK,        look)         \
    X(PRESENCE,    presence)     \
    X(WATCH,       watch)        \
    X(ORDER,       order)        \
    X(CALL,        call)         \
    X(NOTE,        note)
/* clang-format on */

#define BUS_OP_KIND(NAME, name) BUS_##NAME,
enum bus_op_kind { BUS_OPS(BUS_OP_KIND) BUS_OP_KINDS };
#undef BUS_OP_KIND

/* Any thread calls any of these, and none may wait for another machine. The bus closes with its store. */
struct bus_ops {
    /* Takes an operation, whose `kind` is an enum bus_op_kind. It sets `status`, the results, and hands it back by
     * store_answer(): later, in the order that bus.h promises, and always. */
    void (*post)(struct bus *b, struct store_op *op);
    void (*listen)(struct bus *b, const struct bus_ears *ears); /* bus_listen() */
    void (*receipt)(struct bus *b, struct bus_order *o);        /* bus_receipt() */
    void (*answer)(struct bus *b, struct bus_called *c, struct slice body);
    void (*applied)(struct bus *b, struct bus_noted *n);
    unsigned (*nodes)(struct bus *b, struct bus_node *out, unsigned n);
    bool (*leads)(struct bus *b);
    void (*drain)(struct bus *b);
    unsigned (*part_conv)(struct slice conv);
    unsigned (*part_user)(struct slice user);
};

/* What the doors know of a bus: the engine's own struct begins with this. */
struct bus {
    const struct bus_ops *ops;
};

#endif
