/* Commands about messages: announce, send, history. */
#include "core/base/utf8.h"
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/hub/host/host.h"
#include "core/hub/host/host_send.h"
#include "core/hub/shard/options.h"
#include "core/hub/shard/shards.h"

#include <stdlib.h>

/* Those who have not said so may have it all the same. That is no error: who repeats it tells the others twice. */
static void announced(void *ctx, enum store_status status, const struct silent_nodes *silent)
{
    struct command_call *c = ctx;
    if (status != STORE_OK) {
        command_fail(c, "unavailable", "announced on this node; the store cannot tell the others now");
        return;
    }
    if (silent->n) {
        struct buf *b = &c->out;
        silent_put(b, silent);
        b->p[0] = '{'; /* in place of the comma */
        buf_byte(b, '}');
    }
    command_done(c);
}

static void announce_fail(struct command_call *c, int rc)
{
    if (rc == ERR_TOOLARGE)
        command_fail(c, "too_large", "several nodes can be told some 4000 bytes at once");
    else
        command_fail(c, "internal", "out of memory");
}

static void run_announce(struct command_call *c, void *ctx)
{
    (void)ctx;
    uint32_t max = c->hub->box->opt.content_max;
    int rc;
    if (c->argv[0].n == 0 || (max && c->argv[0].n > max))
        command_fail(c, c->argv[0].n ? "too_large" : "bad_request", "expected 1 to %u bytes", max);
    else if ((rc = host_announce_told(c->hub, c->argv[0], announced, c)) != 0)
        announce_fail(c, rc);
}

/* --- Sending, as `system` ----------------------------------------------------------------------------------------- */

struct send {
    struct host_send op;
    struct command_call *call;
};

static void sent(void *owner, struct host_op *op)
{
    struct send *s = (struct send *)op;
    struct command_call *c = s->call;
    (void)owner;
    if (op->code == CODE_OK) {
        buf_printf(&c->out, "{\"id\":\"%019llu\",\"seq\":%llu,\"createdAt\":%llu}", (unsigned long long)s->op.id,
                   (unsigned long long)s->op.seq, (unsigned long long)s->op.created_ms);
        command_done(c);
    } else {
        command_fail(c, code_name(op->code), "%s", op->message);
    }
    free(s);
}

/* ctx: not NULL for a channel. */
static void run_send(struct command_call *c, void *ctx)
{
    struct send *s = calloc(1, sizeof *s);
    if (!s) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    s->call = c;
    *(ctx ? &s->op.channel : &s->op.receiver) = c->argv[0];
    s->op.content = c->argv[1];
    s->op.op.home = hub_main(c->hub);
    s->op.op.done = sent;
    host_send(c->hub, &s->op);
}

/* --- History ------------------------------------------------------------------------------------------------------ */

enum { HISTORY_DEFAULT = 50, HISTORY_PAGE = 200 };

/*
 * The newest messages, oldest first. Seqs do not tell how many messages there are, because there may be gaps: the walk
 * goes down page by page until enough are counted, and then tells them on its way up. What fits one page is told at
 * once.
 */
struct history {
    struct store_range op;
    struct command_call *call;
    struct conv_key key;
    uint64_t counted; /* on the way down; afterwards: messages still to tell */
    uint64_t left;    /* messages still to count */
    bool up;          /* the way down is over */
};

static void history_end(struct history *h)
{
    struct command_call *c = h->call;
    store_page_free(&h->op.page);
    free(h);
    command_done(c);
}

static void history_ask(struct history *h)
{
    uint64_t wanted = h->up ? h->counted : h->left;
    store_page_free(&h->op.page);
    h->op.limit = wanted < HISTORY_PAGE ? (uint32_t)wanted : HISTORY_PAGE;
    store_range(hub_store(h->call->hub), &h->op);
}

static void history_resume(struct command_call *c)
{
    struct history *h = c->state;
    if (c->gone)
        history_end(h);
    else
        history_ask(h);
}

static void put_message(struct buf *b, const struct store_message *m)
{
    buf_printf(b, "{\"seq\":%llu,\"id\":\"%019llu\",\"createdAt\":%llu,\"sender\":", (unsigned long long)m->seq,
               (unsigned long long)m->id, (unsigned long long)m->created_ms);
    buf_json_string(b, m->sender);
    buf_lit(b, ",\"name\":");
    buf_json_string(b, m->sender_name);
    if (m->edited_ms)
        buf_printf(b, ",\"editedAt\":%llu", (unsigned long long)m->edited_ms);
    buf_lit(b, ",\"content\":");
    if (m->recalled)
        buf_lit(b, "null");
    else
        buf_json_string(b, m->content);
    buf_byte(b, '}');
}

static void history_fail(struct history *h)
{
    struct command_call *c = h->call;
    bool read = h->op.op.status == STORE_OK;
    store_page_free(&h->op.page);
    free(h);
    if (read)
        command_fail(c, "not_found", "nothing was ever sent there");
    else
        command_fail(c, "unavailable", "the store cannot be read now");
}

/* Tells the page; there is more to tell above it or not. */
static void history_tell(struct history *h)
{
    struct command_call *c = h->call;
    for (uint32_t i = 0; i < h->op.page.n; i++) {
        if (c->out.n)
            buf_byte(&c->out, ',');
        put_message(&c->out, &h->op.page.messages[i]);
        h->op.after = h->op.page.messages[i].seq;
    }
    h->counted -= h->op.page.n < h->counted ? h->op.page.n : h->counted;
    if (h->op.more && h->counted && h->op.page.n)
        command_more(c, history_resume);
    else
        history_end(h);
}

static void history_read(void *owner, struct store_op *op)
{
    struct history *h = (struct history *)op;
    uint32_t n = h->op.page.n;
    (void)owner;
    if (op->status != STORE_OK || h->op.last == 0) {
        history_fail(h);
        return;
    }
    if (h->up) {
        history_tell(h);
        return;
    }
    bool one_page = h->counted == 0;
    h->counted += n;
    h->left -= n;
    if (h->call->gone) {
        history_end(h);
    } else if (n && h->left && h->op.more) {
        h->op.has_before = true;
        h->op.before = h->op.page.messages[0].seq;
        history_ask(h);
    } else {
        h->up = true;
        h->op.has_after = true;
        h->op.after = n ? h->op.page.messages[0].seq - 1 : h->op.before - 1;
        h->op.has_before = false;
        h->op.more = false;
        if (one_page)
            history_tell(h);
        else
            history_ask(h);
    }
}

/* ctx: not NULL for a channel. */
static void run_history(struct command_call *c, void *ctx)
{
    unsigned named = ctx ? 1 : 2;
    uint64_t limit = HISTORY_DEFAULT;
    bool good = ctx ? value_channel(c->argv[0]) : value_user_id(c->argv[0]) && value_user_id(c->argv[1]);
    if (!good) {
        command_fail(c, "bad_request", ctx ? "expected a channel's name" : "expected two user ids");
        return;
    }
    if (c->argc != named && !(c->argc == named + 2 && slice_eq(c->argv[named], SLICE_LIT("limit")) &&
                              argument_number(c->argv[named + 1], UINT32_MAX, &limit) && limit)) {
        command_fail(c, "bad_request", "usage: %s %s", c->command.name, c->command.args);
        return;
    }
    struct history *h = calloc(1, sizeof *h);
    if (!h) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    c->state = h;
    c->rows = true;
    h->call = c;
    h->left = limit;
    h->key = ctx ? conv_key_channel(c->argv[0]) : conv_key_pair(c->argv[0], c->argv[1]);
    h->op.conv = conv_key_slice(&h->key);
    h->op.page_bytes = 256 << 10;
    h->op.op.home = hub_main(c->hub);
    h->op.op.done = history_read;
    history_ask(h);
}

int cmd_message_register(struct console *c)
{
    static const char channel[] = "channel";
#define CHANNEL .ctx = (void *)(uintptr_t)channel
    const struct command list[] = {
        {.name = "announce",
         .args = "TEXT",
         .help = "push 106 to every connection of this server",
         .min = 1,
         .max = 1,
         .text = true,
         .changes = true,
         .run = run_announce},
        {.name = "send user",
         .args = "ID TEXT",
         .help = "a private message from `system`",
         .min = 2,
         .max = 2,
         .text = true,
         .changes = true,
         .shown = 1,
         .run = run_send},
        {.name = "send channel",
         .args = "NAME TEXT",
         .help = "a message from `system` to a channel",
         .min = 2,
         .max = 2,
         .text = true,
         .changes = true,
         .shown = 1,
         .run = run_send,
         CHANNEL},
        {.name = "history user",
         .args = "A B [limit N]",
         .help = "the newest private messages between two users",
         .min = 2,
         .max = 4,
         .run = run_history},
        {.name = "history channel",
         .args = "NAME [limit N]",
         .help = "a channel's newest messages",
         .min = 1,
         .max = 3,
         .run = run_history,
         CHANNEL},
    };
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
