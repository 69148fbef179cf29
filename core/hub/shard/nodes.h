/*
 * The nodes of a cluster, for what is above the hub: which there are, questions to the others, and their answers. A
 * server alone has no others, and is asked by nobody. Main thread, where nothing else is said.
 */
#ifndef MAGPIE_HUB_NODES_H
#define MAGPIE_HUB_NODES_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct bus_called;
struct hub;

enum {
    HUB_NODES = 64,             /* that are told one by one */
    NODE_ANSWER_MAX = 256 << 10 /* bytes of a question or an answer */
};

struct hub_node {
    uint64_t node;   /* its incarnation: never twice */
    uint16_t number; /* for people */
    bool self, leader, draining;
    bool joining; /* it does not serve yet, or only since its newest beat */
    char host[64];
};
/* Those that live, this one included; returns how many were written. 0: the server is alone. Any thread. */
unsigned hub_nodes(const struct hub *hub, struct hub_node out[HUB_NODES]);
/* Whether the server is a node, be it the only one. Any thread. */
bool hub_is_node(const struct hub *hub);
/* Whether this server does what one of all does; true for a server alone. Two may for a moment. Any thread. */
bool hub_leads(const struct hub *hub);

/* --- Questions ---------------------------------------------------------------------------------------------------- */

/* What is asked: each has one answerer. */
enum node_subject {
    NODE_CONSOLE,
    NODE_TRACE,
    NODE_CLOSED, /* the hub's: how many connections a ban has closed there */
    NODE_PLUGIN,
    NODE_SUBJECTS
};

struct node_answer {
    uint64_t node;
    uint16_t number;
    bool given; /* false: the node did not answer in time */
    struct slice body;
};

struct node_ask {
    uint64_t node; /* 0: all others; those that join need not answer, and are not waited for as long */
    enum node_subject subject;
    uint32_t timeout_ms; /* 0: a second */
    struct slice body;   /* copied */
    /* Later, on the main thread; the answers are borrowed. n 0: there is no other node, or none can be asked. */
    void (*done)(void *ctx, const struct node_answer *answers, unsigned n);
    void *ctx;
};
/* ERR_CLOSED: the server is alone; ERR_NOMEM. Then `done` is not called. Any thread, once hub_set_main() was called. */
MUST_CHECK int nodes_ask(struct hub *hub, const struct node_ask *a);

/* --- Answers ------------------------------------------------------------------------------------------------------ */

struct node_question {
    struct bus_called *called; /* the hub's */
    uint64_t node;             /* that asks */
    uint16_t number;           /* of that node, for people; 0: not known */
    struct slice body;         /* borrowed until it is answered */
};
/* Who answers a subject, from now on: `asked` is called on the main thread, and takes the question. NULL: nobody, and
 * others hear so at once. Before hub_start(), or after hub_stop(). */
void nodes_answerer(struct hub *hub, enum node_subject subject, void (*asked)(void *ctx, struct node_question *q),
                    void *ctx);
/* Answers and frees it. An empty body: there is nobody to answer. Any thread. */
void node_answer(struct hub *hub, struct node_question *q, struct slice body);

/* Another node asks: bus_ears.called. */
void nodes_called(void *hub, struct bus_called *c);

#endif
