/* How many channels there are: see channels.h. */
#include "storage/redis/ops/channels.h"

#include "storage/redis/client/fan.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

enum { CHANNELS_OLD = 3000 }; /* ms after which the counts are read again, where that matters */

struct channels {
    uint32_t n[PARTITIONS];        /* as last heard */
    uint64_t total;                /* their sum */
    uint64_t read_ms;              /* when all were read last, by redis.turn_ms */
    bool known;                    /* all were read once */
    bool reading;                  /* they are being read */
    struct fan fan;                /* reading */
    struct channels_wait *waiting; /* until they are known; the newest first */
};

int channels_init(struct redis *r)
{
    r->channels = calloc(1, sizeof *r->channels);
    return r->channels ? 0 : ERR_NOMEM;
}

void channels_fini(struct redis *r)
{
    free(r->channels);
    r->channels = NULL;
}

void channels_counted(struct redis *r, uint16_t part, uint32_t n)
{
    struct channels *c = r->channels;
    c->total += n;
    c->total -= c->n[part];
    c->n[part] = n;
}

static void count_read(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    uint64_t n;
    if (reply_decimal(reply, &n) && n <= UINT32_MAX)
        channels_counted(r, (uint16_t)i, (uint32_t)n);
    else
        fan_fail(f, STORE_FATAL);
}

static void all_read(struct redis *r, struct fan *f)
{
    struct channels *c = r->channels;
    struct channels_wait *w = c->waiting, *next;
    c->waiting = NULL;
    c->reading = false;
    r->background--;
    if (f->status == STORE_OK) {
        c->known = true;
        c->read_ms = r->turn_ms;
    }
    for (; w; w = next) {
        next = w->next; /* it is gone with its task */
        w->ready(r, w->task, f->status);
    }
}

static bool read_all(struct redis *r)
{
    struct channels *c = r->channels;
    if (c->reading)
        return true;
    if (fan_begin(&c->fan, NULL, PARTITIONS))
        return false;
    static const struct slice hget[] = {SLICE_LIT("HGET")};
    for (uint16_t part = 0; part < PARTITIONS; part++) {
        struct call *call = &c->fan.calls[part];
        call_raw(r, call, part, false, hget, 1);
        call_key(r, call, 'c', SLICE_NONE);
        call_arg(call, SLICE_LIT("n"));
    }
    c->fan.each = count_read;
    c->fan.end = all_read;
    c->reading = true;
    r->background++;
    fan_post(r, &c->fan);
    return true;
}

int channels_room(struct redis *r, uint32_t max, struct channels_wait *w)
{
    struct channels *c = r->channels;
    if (!c->known) {
        if (!read_all(r))
            return 0;
        w->next = c->waiting;
        c->waiting = w;
        return -1;
    }
    /* A node that is alone knows of all that it has made; what has gone matters only near the limit. */
    bool matters = !node_is_alone(r) || c->total >= max - max / 8;
    if (matters && r->turn_ms - c->read_ms > CHANNELS_OLD)
        (void)read_all(r);
    return c->total < max;
}
