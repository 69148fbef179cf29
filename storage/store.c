/* The doors of the store: every operation passes here, on its way to the engine that was opened. See store.h and
 * engine.h. */
#include "storage/store.h"

#include "storage/archive.h"
#include "storage/engine.h"
#include "storage/local/export.h"
#include "storage/local/import.h"
#include "storage/local/local.h"
#include "storage/redis/dump/export.h"
#include "storage/redis/dump/heads.h"
#include "storage/redis/dump/import.h"
#include "storage/redis/redis.h"

#include <stdio.h>
#include <stdlib.h>

_Static_assert(OP_KINDS <= UINT8_MAX / 2, "store_op.kind has room for all operations, and for an engine's own");

#define ROW_W(NAME, op_name, of, field)                                                                                \
    [OP_##NAME] = {                                                                                                    \
        .name = #op_name, .writes = true, .whose = WHOSE_##of, .key = offsetof(struct store_##op_name, field)},
#define ROW_R(NAME, op_name, of, field)                                                                                \
    [OP_##NAME] = {.name = #op_name, .whose = WHOSE_##of, .key = offsetof(struct store_##op_name, field)},
const struct store_op_row store_op_rows[OP_KINDS] = {STORE_OPS(ROW_W, ROW_R)};

/* --- Opening --- */

/* Engines by the name that storage.engine gives them. */
static const struct engine_row {
    const char *name;
    int (*open)(struct store **out, const struct store_options *options, char *why, size_t why_size);
    int (*export)(const struct store_options *options, struct dump_writer *out, char *why, size_t why_size);
    int (*import)(const struct store_options *options, struct dump_reader *in, char *why, size_t why_size);
    int (*heads)(const struct store_options *options, uint64_t *n, char *why, size_t why_size); /* NULL: no archive */
} engines[] = {{"rocksdb", local_open, local_export, local_import, NULL},
               {"memory", local_open, local_export, local_import, NULL},
               {"redis", redis_open, redis_export, redis_import, redis_heads}};

/* NULL: there is none of that name. */
static const struct engine_row *engine_find(const char *name, char *why, size_t why_size)
{
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
        if (strcmp(engines[i].name, name) == 0)
            return &engines[i];
    snprintf(why, why_size, "there is no storage engine \"%s\"", name);
    return NULL;
}

int store_open(struct store **out, const struct store_options *options, char *why, size_t why_size)
{
    const struct engine_row *e = engine_find(options->engine, why, why_size);
    *out = NULL;
    return e ? e->open(out, options, why, why_size) : ERR_INVALID;
}

int store_export(const struct store_options *options, struct dump_writer *out, char *why, size_t why_size)
{
    const struct engine_row *e = engine_find(options->engine, why, why_size);
    return e ? e->export(options, out, why, why_size) : ERR_INVALID;
}

int store_import(const struct store_options *options, struct dump_reader *in, char *why, size_t why_size)
{
    const struct engine_row *e = engine_find(options->engine, why, why_size);
    return e ? e->import(options, in, why, why_size) : ERR_INVALID;
}

int store_heads(const struct store_options *options, uint64_t *n, char *why, size_t why_size)
{
    const struct engine_row *e = engine_find(options->engine, why, why_size);
    *n = 0;
    if (!e)
        return ERR_INVALID;
    if (e->heads)
        return e->heads(options, n, why, why_size);
    snprintf(why, why_size, "cluster.redis: only a node of a cluster has an archive whose conversations could go on");
    return ERR_INVALID;
}

void store_close(struct store *s)
{
    s->engine->close(s);
}

bool store_left_behind(void)
{
    return archive_left_behind();
}

void store_configure(struct store *s, const struct store_options *options)
{
    s->engine->configure(s, options);
}

int store_agree(struct store *s, const char *name, struct slice proposal, bool replace, struct buf *out, char *why,
                size_t why_size)
{
    if (s->engine->agree)
        return s->engine->agree(s, name, proposal, replace, out, why, why_size);
    snprintf(why, why_size, "nothing is agreed on by one server");
    return ERR_INVALID;
}

void store_clock_accept(struct store *s)
{
    s->engine->clock_accept(s);
}

uint64_t store_time_ms(struct store *s)
{
    return s->engine->time(s);
}

uint64_t store_age_ms(struct store *s, uint64_t stamp_ms)
{
    return s->engine->age(s, stamp_ms);
}

uint64_t store_date_ms(struct store *s)
{
    return s->engine->date(s);
}

void store_get_stats(struct store *s, struct store_stats *out)
{
    s->engine->stats(s, out);
}

void store_get_disk(struct store *s, struct store_disk *out)
{
    *out = (struct store_disk){.count = 0};
    if (s->engine->disk)
        s->engine->disk(s, out);
}

void store_kick(struct store *s)
{
    s->engine->kick(s);
}

/* --- Operations --- */

/* Lists of the time before, which whoever asks again has freed: an engine that refuses at once does not touch them. */
static void lists_forget(struct store_op *op, enum store_op_kind kind)
{
    if (kind == OP_GUESTS_DUE) {
        struct store_guests_due *q = (struct store_guests_due *)op;
        q->ids = NULL;
        q->arena = NULL;
        q->n = 0;
    } else if (kind == OP_MEMBERS) {
        struct store_members *q = (struct store_members *)op;
        q->people = NULL;
        q->arena = NULL;
        q->n = 0;
    } else if (kind == OP_NOTES) {
        struct store_notes *q = (struct store_notes *)op;
        q->notes = NULL;
        q->arena = NULL;
        q->n = 0;
    } else if (kind == OP_SCAN) {
        struct store_scan *q = (struct store_scan *)op;
        q->list = NULL;
        q->arena = NULL;
        q->n = 0;
    }
}

/* The one way into the engine. */
static void hand_over(struct store *s, struct store_op *op, enum store_op_kind kind)
{
    lists_forget(op, kind);
    store_op_begin(op, (uint8_t)kind);
    s->engine->post(s, op);
}

/* store_append() and all the others: each row's struct begins with its struct store_op. */
#define DOOR(NAME, name, ...)                                                                                          \
    _Static_assert(offsetof(struct store_##name, op) == 0, "op comes first");                                          \
    void store_##name(struct store *s, struct store_##name *p)                                                         \
    {                                                                                                                  \
        hand_over(s, &p->op, OP_##NAME);                                                                               \
    }
STORE_OPS(DOOR, DOOR)

void store_work(struct store *s, struct store_work *w)
{
    w->op.mail = (struct mail){.run = store_op_run};
    w->why[0] = '\0';
    s->engine->work(s, w);
}

/* --- What operations returned --- */

void store_page_free(struct store_page *p)
{
    free(p->messages);
    free(p->arena);
    *p = (struct store_page){0};
}

void store_user_load_free(struct store_user_load *u)
{
    free(u->subscriptions);
    free(u->arena);
    u->subscriptions = NULL;
    u->subscription_count = 0;
    u->arena = NULL;
}

void store_conversations_free(struct store_conversations *c)
{
    free(c->list);
    c->list = NULL;
    c->n = 0;
    store_page_free(&c->page);
}
