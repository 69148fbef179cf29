#include "core/console/cmd_stored.h"

#include "core/console/survey.h"
#include "core/hub/shard/shards.h"

#include <stdlib.h>

enum { PAGE = 500 };

/* A walk over what is stored, a page at a time; the next one is asked for when the reader has room. */
struct stored {
    struct store_scan op;
    struct command_call *call;
    uint64_t skip; /* rows still to be passed over */
    uint64_t left; /* rows still wanted, those to be passed over not counted */
    char cursor[64];
};

static void stored_ask(struct stored *t)
{
    t->op.limit = t->skip == 0 && t->left < PAGE ? (uint32_t)t->left : PAGE;
    store_scan(hub_store(t->call->hub), &t->op);
}

static void stored_resume(struct command_call *c)
{
    struct stored *t = c->state;
    if (!c->gone) {
        stored_ask(t);
        return;
    }
    free(t);
    command_done(c);
}

static void put_row(struct buf *b, enum store_scan_what what, const struct store_scanned *r)
{
    buf_str(b, what == STORE_SCAN_USERS ? "{\"user\":" : "{\"channel\":");
    buf_json_string(b, r->id);
    if (what == STORE_SCAN_USERS) {
        buf_lit(b, ",\"name\":");
        buf_json_string(b, r->name);
        buf_str(b, r->guest ? ",\"guest\":true}" : ",\"guest\":false}");
        return;
    }
    buf_printf(b, ",\"members\":%u,\"tier\":\"%s\",\"last\":%llu}", r->members,
               r->tier == TIER_LARGE ? "large" : "small", (unsigned long long)r->seq);
}

static void stored_read(void *owner, struct store_op *op)
{
    struct stored *t = (struct stored *)op;
    struct command_call *c = t->call;
    (void)owner;
    for (uint32_t i = 0; op->status == STORE_OK && i < t->op.n && t->left; i++) {
        if (t->skip) {
            t->skip--;
            continue;
        }
        t->left--;
        if (c->out.n)
            buf_byte(&c->out, ',');
        put_row(&c->out, t->op.what, &t->op.list[i]);
    }
    free(t->op.list);
    free(t->op.arena);
    memcpy(t->cursor, t->op.next, t->op.next_n);
    t->op.cursor = slice_of(t->cursor, t->op.next_n);
    if (op->status == STORE_OK && t->op.more && t->left) {
        command_more(c, stored_resume);
        return;
    }
    if (op->status == STORE_OK)
        command_done(c);
    else
        command_fail(c, "unavailable", "the store cannot be read now");
    free(t);
}

void stored_list(struct command_call *c, enum store_scan_what what)
{
    struct survey_page page;
    if (!survey_arguments(c, 1, &page))
        return;
    if (page.filter.n > 64) {
        command_fail(c, "bad_request", "expected the first 64 bytes at most");
        return;
    }
    struct stored *t = calloc(1, sizeof *t);
    if (!t) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    *t = (struct stored){
        .op = {.op = {.home = hub_main(c->hub), .done = stored_read}, .what = what, .prefix = page.filter},
        .call = c,
        .skip = page.skip,
        .left = page.limit};
    c->state = t;
    c->rows = true;
    stored_ask(t);
}
