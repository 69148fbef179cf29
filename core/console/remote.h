/*
 * Commands over the nodes of a cluster: which run on all of them, what becomes of their answers, and the other side,
 * where this node runs what another one asks for. A server alone, or the only node that lives, does nothing of it.
 * Private to core/console.
 */
#ifndef MAGPIE_CONSOLE_REMOTE_H
#define MAGPIE_CONSOLE_REMOTE_H

#include "core/console/console_private.h"
#include "core/hub/shard/nodes.h"

/* What a command means where there are several nodes. Whatever is not listed runs on the node asked: it is about that
 * process, or what it reads and changes is the store's, and so everybody's. */
enum spread {
    SPREAD_HERE,
    SPREAD_ROWS,   /* a list: that of each node, one behind the other, with a field `node` */
    SPREAD_SUM,    /* an object: numbers are added up; `nodes` has each one's */
    SPREAD_SERIES, /* metrics: added up by name and labels */
    SPREAD_JOIN,   /* an object about one thing: what others have of it is put in */
    SPREAD_VIEWS,  /* `cluster status`: this node's view, and in its `nodes` what each of them says of itself */
    SPREAD_ALL,    /* a change: done here, and where that works everywhere; the answer is this node's */
    SPREAD_CONN    /* about one connection, NODE/HANDLE: done where it is */
};

struct spread_row {
    const char *command;
    enum spread how;
    bool page;                /* ROWS: takes [FILTER] [limit N] [skip N] */
    const char *const *added; /* SUM: which members are added up; NULL: all numbers. NULL-terminated */
    uint32_t patience_ms;     /* for other nodes; 0: two seconds */
};
/* The row of a command; NULL: it knows nothing of other nodes, nor of the word `--here` at its end. */
const struct spread_row *spread_of(const char *command);

/* What one node said. */
struct part {
    struct hub_node node;
    bool came;   /* it has answered */
    bool rows;   /* `out` has elements, not a value */
    bool more;   /* and there are more of them */
    bool failed; /* code and message say why; `out` may have details */
    char code[32];
    char message[512];
    struct buf out;            /* owned */
    uint64_t ticket;           /* MORE of another node: by which it goes on */
    struct console_call *call; /* MORE of this node */
    void (*resume)(struct command_call *c);
};

/* Takes a call over, if it is one for several nodes; it ends it. False: it is not, and is run here; then this node's
 * number is gone from a connection's name ("1/0.12.34"). */
bool remote_take(struct console_call *k);
/* Answers other nodes from now on. */
void remote_begin(struct console *c);
/* Once a second: ends long answers that nobody fetches any more. */
void remote_check(struct console *c);
/* The console stops: what waits for others to fetch it ends. */
void remote_stop(struct console *c);

/* remote_merge.c: several answers become one, in *out. `parts[0]` is this node's, and has worked. */
void merge_sum(struct buf *out, const struct part *parts, unsigned n, const char *const *added);
void merge_series(struct buf *out, const struct part *parts, unsigned n);
void merge_views(struct buf *out, const struct part *parts, unsigned n);
void merge_join(struct buf *out, const struct part *parts, unsigned n);
/* Elements of a list, each an object, with the node in front: `skip` of them are left out first, and `left` are
 * written at most; both are counted down. */
void merge_rows(struct buf *out, struct slice elements, unsigned node, uint64_t *skip, uint64_t *left);
/* ,"unanswered":[…] where some did not answer; nothing otherwise. */
void merge_unanswered(struct buf *out, const struct part *parts, unsigned n);

/* What others ask, and their answers: remote_answer.c reads and writes both. */
enum { REMOTE_LINE = 'L', REMOTE_NEXT = 'C', REMOTE_END = 'X', REMOTE_WHY = 'W', REMOTE_GUESS = 'G' };
/* Takes an answer apart. False: it makes no sense. */
bool remote_read(struct slice body, struct part *p);

/* console_auth.c: somebody has given a password at another node. Answers that it is noted. */
void guess_heard(struct console *c, struct node_question *q);
/* cmd_why.c: what this node knows for another one that was asked. Answers the question. */
void why_asked(struct console *c, struct node_question *q);

#endif
