#include "storage/redis/client/copies.h"

#include "core/base/log.h"
#include "storage/redis/client/slots.h"
#include "storage/redis/redis_private.h"

#include <string.h>

/* --- What INFO says ----------------------------------------------------------------------------------------------- */

/* Takes a line, without its end. */
static struct slice line_take(struct slice *text)
{
    const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
    struct slice line = slice_of(text->p, end ? (size_t)(end - text->p) : text->n);
    size_t n = line.n + (end != NULL);
    *text = slice_of(text->p + n, text->n - n);
    return line;
}

static bool begins(struct slice s, struct slice with)
{
    return s.n >= with.n && memcmp(s.p, with.p, with.n) == 0;
}

static bool has(struct slice s, struct slice what)
{
    return s.n && memmem(s.p, s.n, what.p, what.n);
}

/* The decimal number with which it begins; 0: there is none. */
static uint64_t number_of(struct slice s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        n = n * 10 + (uint64_t)(s.p[i] - '0');
    return n;
}

/* That behind `name`. */
static uint64_t number_behind(struct slice s, struct slice name)
{
    const char *at = s.n ? memmem(s.p, s.n, name.p, name.n) : NULL;
    return at ? number_of(slice_of(at + name.n, s.n - (size_t)(at - s.p) - name.n)) : 0;
}

/* Of lines "slave0:ip=10.0.0.2,port=7001,state=online,offset=12345,lag=0", and "master_repl_offset:12345" behind. */
void copies_read(struct slice info, struct copies_info *out)
{
    uint64_t last = UINT64_MAX, offset = 0;
    *out = (struct copies_info){0, 0};
    while (info.n) {
        struct slice line = line_take(&info);
        if (begins(line, SLICE_LIT("master_repl_offset:")))
            offset = number_behind(line, SLICE_LIT(":"));
        if (!begins(line, SLICE_LIT("slave")) || !has(line, SLICE_LIT(",state=online,")))
            continue;
        uint64_t at = number_behind(line, SLICE_LIT(",offset="));
        out->online++;
        last = at < last ? at : last;
    }
    out->lag = last < offset ? offset - last : 0;
}

/* --- Who must have it --------------------------------------------------------------------------------------------- */

uint32_t copies_least(const struct redis *r)
{
    return r->options.cluster.copies ? r->options.cluster.copies - 1 : 0;
}

uint32_t copies_wanted(const struct redis *r, const struct master *m)
{
    uint32_t least = copies_least(r), all = m->copies.looked_at ? m->copies.wanted : m->replicas;
    return !least ? 0 : all > least ? all : least;
}

/* A master that never had as many replicas as others is asked, too: one may come back to it that followed another. */
bool copies_look_due(const struct redis *r, const struct master *m)
{
    return copies_least(r) && copies_wanted(r, m) < r->slots.most && r->turn_ms >= m->copies.looked_at + COPIES_LOOK;
}

void copies_look(struct buf *out)
{
    resp_command(out, (struct slice[]){SLICE_LIT("INFO"), SLICE_LIT("replication")}, 2);
    resp_command(out, (struct slice[]){SLICE_LIT("TIME")}, 1);
    resp_command(out, (struct slice[]){SLICE_LIT("CLUSTER"), SLICE_LIT("INFO")}, 2);
    resp_command(out, (struct slice[]){SLICE_LIT("CLUSTER"), SLICE_LIT("NODES")}, 2);
}

/* A replica is streamed to no more, and is not held as failed. It has ended, or another one has been elected by masters
 * that this one did not hear: these would have told it of the new epoch since. */
static bool is_gone(struct redis *r, struct copies *c, const struct slots_census *seen)
{
    if (!c->gone_at || c->epoch != c->gone_epoch || r->turn_ms > c->looked_at + COPIES_GAP) {
        c->gone_at = c->time;
        c->gone_epoch = c->epoch;
        return false;
    }
    return c->serves && 2 * seen->heard > seen->masters;
}

/* The members as the master sees them, the last of its replies. */
static void census(struct redis *r, struct master *m, struct slice text)
{
    struct copies *c = &m->copies;
    uint32_t wanted = c->looked_at ? c->wanted : m->replicas;
    struct slots_census seen;
    slots_count(text, m->id, c->gone_at, &seen);
    if (seen.followers > r->slots.most)
        r->slots.most = (uint16_t)seen.followers;
    if (c->online >= wanted || is_gone(r, c, &seen)) {
        wanted = c->online;
        c->gone_at = 0;
    }
    if (seen.followers > c->followers)
        c->followers = (uint16_t)seen.followers;
    uint32_t living = c->followers > seen.failed ? c->followers - seen.failed : 0;
    c->wanted = (uint16_t)(wanted < living ? wanted : living);
    c->looked_at = r->turn_ms;
}

static void time_told(struct copies *c, const struct reply *reply)
{
    if (reply->type == REPLY_LIST && reply->n == 2)
        c->time = number_of(reply->list[0].text) * 1000 + number_of(reply->list[1].text) / 1000;
}

static void state_told(struct copies *c, struct slice text)
{
    c->serves = has(text, SLICE_LIT("cluster_state:ok"));
    c->epoch = number_behind(text, SLICE_LIT("cluster_current_epoch:"));
}

void copies_look_reply(struct redis *r, struct master *m, unsigned n, const struct reply *reply)
{
    struct slice text = reply->type == REPLY_STRING ? reply->text : SLICE_NONE; /* it may not be asked */
    struct copies_info info;
    if (n == 0) {
        copies_read(text, &info);
        m->copies.leads = !has(text, SLICE_LIT("role:slave"));
        m->copies.online = (uint16_t)(info.online < UINT16_MAX ? info.online : UINT16_MAX);
    } else if (n == 1) {
        time_told(&m->copies, reply);
    } else if (n == 2) {
        state_told(&m->copies, text);
    } else if (text.n) {
        census(r, m, text);
    }
}

/* --- What is missing ---------------------------------------------------------------------------------------------- */

static uint64_t lasts_ms(const struct redis *r, const struct shortage *s)
{
    return s->since && r->turn_ms <= s->seen + COPIES_GAP ? r->turn_ms - s->since : 0;
}

/* Whether that is to be logged now. */
static bool missing(struct redis *r, struct shortage *s)
{
    if (!s->since || r->turn_ms > s->seen + COPIES_GAP)
        s->since = r->turn_ms;
    s->seen = r->turn_ms;
    if (s->told || lasts_ms(r, s) < COPIES_REFUSE)
        return false;
    s->told = true;
    return true;
}

/* How long it was missing, ms, if that was logged, else 0. */
static uint64_t there(struct redis *r, struct shortage *s)
{
    uint64_t ms = s->told ? r->turn_ms - s->since : 0;
    *s = (struct shortage){.since = 0};
    return ms;
}

static void few_seen(struct redis *r, struct master *m, bool few)
{
    uint64_t ms;
    if (few && missing(r, &m->copies.few))
        log_event(LOG_WARN, "cluster.short_of_copies", LOG_STR("host", m->host), LOG_INT("port", m->port),
                  LOG_STR("effect", "its changes are refused until they have copies"));
    else if (!few && (ms = there(r, &m->copies.few)))
        log_event(LOG_INFO, "cluster.copies_back", LOG_STR("host", m->host), LOG_INT("port", m->port),
                  LOG_INT("after_ms", ms));
}

static void silence_seen(struct redis *r, struct master *m, bool silent)
{
    uint64_t ms;
    if (silent && missing(r, &m->copies.silent))
        log_event(LOG_WARN, "cluster.replica_silent", LOG_STR("host", m->host), LOG_INT("port", m->port),
                  LOG_STR("effect", "its changes wait until the replica has them, or the cluster holds it as failed"));
    else if (!silent && (ms = there(r, &m->copies.silent)))
        log_event(LOG_INFO, "cluster.replica_back", LOG_STR("host", m->host), LOG_INT("port", m->port),
                  LOG_INT("after_ms", ms));
}

void copies_seen(struct redis *r, struct master *m, uint32_t have, bool all)
{
    bool few = have < copies_least(r), silent = have < copies_wanted(r, m);
    few_seen(r, m, few);
    if (all && !(few && silent))
        silence_seen(r, m, silent);
}

void copies_forget(struct master *m)
{
    m->copies.few.seen = m->copies.silent.seen = 0;
    m->copies.gone_at = 0;
}

uint64_t copies_few_ms(const struct redis *r, const struct master *m)
{
    return lasts_ms(r, &m->copies.few);
}

uint64_t copies_silent_ms(const struct redis *r, const struct master *m)
{
    return lasts_ms(r, &m->copies.silent);
}
