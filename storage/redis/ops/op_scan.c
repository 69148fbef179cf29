/* All there is, page by page: users and channels by a walk over all keys, in no order; deletions under way by id. */
#include "storage/conv_key.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/client/walk.h"
#include "storage/redis/layout.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum {
    LOOK_MAX = 65536, /* keys that one page looks at */
    SIZE_MIN = 5,     /* … 2^5 at once, and more for large pages and where little is found */
    SIZE_PAGE = 9,
    LIMIT_MAX = 1000, /* … and has */
    GOING_MAX = 1000, /* deletions under way in one partition that are seen at once */
    CURSOR_N = 1 + 2 * WALK_PLACE
};

_Static_assert(CURSOR_N <= sizeof(((struct store_scan *)0)->next), "a cursor fits");

/* One that was found, and what is known of it. */
struct found {
    struct slice id;   /* going: an offset into the arena */
    struct slice name; /* an offset into the arena */
    bool there, guest, recall;
    enum store_tier tier;
    uint32_t members;
    uint64_t seq;
};

struct scanning {
    struct walk walk;
    struct fan fan;
    struct found *found; /* owned */
    uint32_t n, cap;
    struct buf arena; /* what `found` points to; then the page's */
    struct buf names; /* of those that are being looked at */
    char prefix[1 + 64];
};

/* --- The page ----------------------------------------------------------------------------------------------------- */

static void scan_end(struct redis *r, struct task *t, enum store_status status)
{
    struct store_scan *q = (struct store_scan *)t->op;
    struct scanning *s = t->own;
    walk_fini(&s->walk);
    free(s->found);
    buf_free(&s->names);
    if (status == STORE_OK && !buf_ok(&s->arena))
        status = STORE_RETRY;
    if (status == STORE_OK) {
        q->arena = s->arena.p;
        for (uint32_t i = 0; i < q->n; i++) {
            q->list[i].id.p = q->arena + (uintptr_t)q->list[i].id.p;
            q->list[i].name.p = q->arena + (uintptr_t)q->list[i].name.p;
        }
    } else {
        buf_free(&s->arena);
        free(q->list);
        q->list = NULL;
        q->n = 0;
        q->more = false;
    }
    task_end(r, t, status);
}

/* Puts one on the page. */
static void page_put(struct store_scan *q, struct scanning *s, const struct found *f, struct slice id,
                     struct slice name)
{
    q->list[q->n++] = (struct store_scanned){.id = {(const char *)(uintptr_t)s->arena.n, id.n},
                                             .name = {(const char *)(uintptr_t)(s->arena.n + id.n), name.n},
                                             .guest = f->guest,
                                             .recall = f->recall,
                                             .tier = f->tier,
                                             .members = f->members,
                                             .seq = f->seq};
    buf_slice_put(&s->arena, id);
    buf_slice_put(&s->arena, name);
}

/* --- Users and channels ------------------------------------------------------------------------------------------- */

/* A cursor is text, since people may carry it: a walk's place in hexadecimal digits. */
static void cursor_put(struct store_scan *q, const struct walk_place *place)
{
    static const char digits[] = "0123456789abcdef";
    char raw[WALK_PLACE];
    walk_place_put(raw, place);
    q->next[0] = '~';
    for (size_t i = 0; i < sizeof raw; i++) {
        q->next[1 + 2 * i] = digits[(uint8_t)raw[i] >> 4];
        q->next[2 + 2 * i] = digits[raw[i] & 15];
    }
    q->next_n = CURSOR_N;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool cursor_get(struct slice cursor, struct walk_place *place)
{
    char raw[WALK_PLACE];
    if (cursor.n != CURSOR_N || cursor.p[0] != '~')
        return false;
    for (size_t i = 0; i < sizeof raw; i++) {
        int high = digit_of(cursor.p[1 + 2 * i]), low = digit_of(cursor.p[2 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        raw[i] = (char)(high << 4 | low);
    }
    walk_place_get(raw, place);
    return true;
}

static void user_looked(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct scanning *s = f->task->own;
    (void)r;
    if (reply->type != REPLY_LIST || reply->n != 3) {
        fan_fail(f, STORE_FATAL);
        return;
    }
    struct found *one = &s->found[i];
    one->there = reply->list[0].type == REPLY_STRING && reply->list[2].type != REPLY_STRING;
    one->guest = reply->list[1].type == REPLY_STRING && !slice_eq(reply->list[1].text, SLICE_LIT("0"));
    if (one->there) {
        one->name = (struct slice){(const char *)(uintptr_t)s->names.n, reply->list[0].text.n};
        buf_slice_put(&s->names, reply->list[0].text);
    }
}

static void channel_looked(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct scanning *s = f->task->own;
    struct found *one = &s->found[i];
    struct layout_head h;
    (void)r;
    if (reply->type != REPLY_NIL && (reply->type != REPLY_STRING || layout_head(reply->text, &h))) {
        fan_fail(f, STORE_FATAL);
        return;
    }
    one->there = reply->type == REPLY_STRING && (h.flags & (LAYOUT_MADE | LAYOUT_WIPING)) == LAYOUT_MADE;
    if (one->there) {
        one->tier = (enum store_tier)h.tier;
        one->members = h.members;
        one->seq = h.seq;
    }
}

/* What is known of all that the walk has found. */
static void scan_looked(struct redis *r, struct fan *f)
{
    struct task *t = f->task;
    struct store_scan *q = (struct store_scan *)t->op;
    struct scanning *s = t->own;
    struct walk *w = &s->walk;
    uint32_t i = 0;
    if (f->status != STORE_OK || !buf_ok(&s->names)) {
        scan_end(r, t, f->status != STORE_OK ? f->status : STORE_RETRY);
        return;
    }
    for (; i < w->n && q->n < q->limit; i++) {
        struct found *one = &s->found[i];
        struct slice id = q->what == STORE_SCAN_CHANNELS ? conv_channel_name(w->keys[i]) : w->keys[i];
        struct slice name = one->name.n ? slice_of(s->names.p + (uintptr_t)one->name.p, one->name.n) : SLICE_NONE;
        if (one->there && id.n >= 1 && id.n <= 64)
            page_put(q, s, one, id, name);
    }
    if (i < w->n) {
        walk_stop_behind(w, w->keys[i - 1]);
        q->more = true;
    } else {
        if (!w->n && w->place.size < WALK_SIZE_MAX)
            w->place.size++;
        q->more = walk_on(w);
        if (q->more && q->n < q->limit && w->looked < LOOK_MAX) {
            walk_ask(r, w);
            return;
        }
    }
    if (q->more)
        cursor_put(q, &w->place);
    scan_end(r, t, STORE_OK);
}

/* Makes room for so many. */
static bool found_room(struct scanning *s, uint32_t n)
{
    if (n <= s->cap)
        return true;
    struct found *grown = realloc(s->found, n * sizeof *grown);
    if (grown) {
        s->found = grown;
        s->cap = n;
    }
    return grown != NULL;
}

static void scan_found(struct redis *r, struct walk *w, enum store_status status)
{
    struct task *t = w->ctx;
    struct store_scan *q = (struct store_scan *)t->op;
    struct scanning *s = t->own;
    buf_reset(&s->names);
    if (status != STORE_OK || !w->n) {
        s->fan = (struct fan){.task = t, .status = status};
        scan_looked(r, &s->fan);
        return;
    }
    if (!found_room(s, w->n) || fan_begin(&s->fan, t, w->n)) {
        scan_end(r, t, STORE_RETRY);
        return;
    }
    bool users = q->what == STORE_SCAN_USERS;
    const struct slice name = users ? SLICE_LIT("HMGET") : SLICE_LIT("HGET");
    for (uint32_t i = 0; i < w->n; i++) {
        struct call *c = &s->fan.calls[i];
        s->found[i] = (struct found){.tier = TIER_SMALL};
        call_raw(r, c, users ? partition_of_user(w->keys[i]) : partition_of(w->keys[i]), false, &name, 1);
        call_key(r, c, users ? 'u' : 'm', w->keys[i]);
        call_arg(c, users ? SLICE_LIT("n") : SLICE_LIT("h"));
        if (users) {
            call_arg(c, SLICE_LIT("g"));
            call_arg(c, SLICE_LIT("f"));
        }
    }
    s->fan.each = users ? user_looked : channel_looked;
    s->fan.end = scan_looked;
    fan_post(r, &s->fan);
}

/* --- Deletions under way ------------------------------------------------------------------------------------------ */

static void going_each(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct store_scan *q = (struct store_scan *)f->task->op;
    struct scanning *s = f->task->own;
    (void)r, (void)i;
    if (reply->type != REPLY_LIST) {
        fan_fail(f, STORE_FATAL);
        return;
    }
    for (uint32_t k = 0; k < reply->n; k++) {
        struct slice id = reply->list[k].text;
        if (q->what == STORE_SCAN_GOING_CHANNELS)
            id = conv_is_channel(id) ? conv_channel_name(id) : SLICE_NONE;
        if (id.n < 1 || id.n > 64 || id.n < q->prefix.n || (q->prefix.n && memcmp(id.p, q->prefix.p, q->prefix.n)) ||
            (q->cursor.n && slice_cmp(id, q->cursor) <= 0))
            continue;
        if (s->n == s->cap && !found_room(s, s->cap ? s->cap * 2 : 64)) {
            fan_fail(f, STORE_RETRY);
            return;
        }
        s->found[s->n++] = (struct found){.id = {(const char *)(uintptr_t)s->names.n, id.n}, .tier = TIER_SMALL};
        buf_slice_put(&s->names, id);
    }
}

static int found_cmp(const void *a, const void *b)
{
    return slice_cmp(((const struct found *)a)->id, ((const struct found *)b)->id);
}

static void going_page(struct redis *r, struct task *t, enum store_status status)
{
    struct store_scan *q = (struct store_scan *)t->op;
    struct scanning *s = t->own;
    for (uint32_t i = 0; status == STORE_OK && i < s->n && q->n < q->limit; i++)
        page_put(q, s, &s->found[i], s->found[i].id, SLICE_NONE);
    q->more = s->n > q->n;
    if (q->n && q->more) {
        struct slice last = s->found[q->n - 1].id;
        memcpy(q->next, last.p, last.n);
        q->next_n = (uint8_t)last.n;
    }
    scan_end(r, t, status);
}

static void recall_read(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    (void)r;
    ((struct scanning *)f->task->own)->found[i].recall =
        reply->type == REPLY_STRING && slice_eq(reply->text, SLICE_LIT("2"));
}

static void recalls_read(struct redis *r, struct fan *f)
{
    going_page(r, f->task, f->status);
}

/* All that are under way are known: those of the page, by id. */
static void going_found(struct redis *r, struct fan *f)
{
    static const struct slice hget[] = {SLICE_LIT("HGET")};
    struct task *t = f->task;
    struct store_scan *q = (struct store_scan *)t->op;
    struct scanning *s = t->own;
    if (f->status != STORE_OK || !buf_ok(&s->names)) {
        scan_end(r, t, f->status != STORE_OK ? f->status : STORE_RETRY);
        return;
    }
    for (uint32_t i = 0; i < s->n; i++)
        s->found[i].id.p = s->names.p + (uintptr_t)s->found[i].id.p;
    if (s->n)
        qsort(s->found, s->n, sizeof *s->found, found_cmp);
    uint32_t n = s->n < q->limit ? s->n : q->limit;
    if (q->what == STORE_SCAN_GOING_CHANNELS || !n) {
        going_page(r, t, STORE_OK);
        return;
    }
    if (fan_begin(f, t, n)) {
        scan_end(r, t, STORE_RETRY);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        call_raw(r, &f->calls[i], partition_of_user(s->found[i].id), false, hget, 1);
        call_key(r, &f->calls[i], 'u', s->found[i].id);
        call_arg(&f->calls[i], SLICE_LIT("f"));
    }
    f->each = recall_read;
    f->end = recalls_read;
    fan_post(r, f);
}

/* They are few: each partition is asked for all of them. */
static void going_ask(struct redis *r, struct task *t)
{
    static const struct slice range[] = {SLICE_LIT("ZRANGEBYSCORE")};
    struct store_scan *q = (struct store_scan *)t->op;
    struct scanning *s = t->own;
    if (fan_begin(&s->fan, t, PARTITIONS)) {
        scan_end(r, t, STORE_RETRY);
        return;
    }
    for (unsigned part = 0; part < PARTITIONS; part++) {
        struct call *c = &s->fan.calls[part];
        call_raw(r, c, part, false, range, 1);
        call_key(r, c, q->what == STORE_SCAN_GOING_USERS ? 'G' : 'e', SLICE_NONE);
        call_arg_u64(c, 0);
        call_arg_u64(c, 0);
        call_arg(c, SLICE_LIT("LIMIT"));
        call_arg_u64(c, 0);
        call_arg_u64(c, GOING_MAX);
    }
    s->fan.each = going_each;
    s->fan.end = going_found;
    fan_post(r, &s->fan);
}

/* --- Beginning ---------------------------------------------------------------------------------------------------- */

void begin_scan(struct redis *r, struct task *t)
{
    struct store_scan *q = (struct store_scan *)t->op;
    struct walk_place place = {0};
    q->list = NULL;
    q->arena = NULL;
    q->n = q->next_n = 0;
    q->more = false;
    bool walks = q->what == STORE_SCAN_USERS || q->what == STORE_SCAN_CHANNELS;
    if ((unsigned)q->what > STORE_SCAN_GOING_CHANNELS || q->prefix.n > 64 || q->cursor.n > 64 || !q->limit) {
        task_end(r, t, STORE_FATAL);
        return;
    }
    if (walks && q->cursor.n && !cursor_get(q->cursor, &place)) {
        task_end(r, t, STORE_NOTFOUND);
        return;
    }
    q->limit = q->limit < LIMIT_MAX ? q->limit : LIMIT_MAX;
    struct scanning *s = task_own(t, sizeof *s);
    q->list = s ? calloc(q->limit, sizeof *q->list) : NULL;
    if (!q->list) {
        task_end(r, t, STORE_RETRY);
        return;
    }
    if (!walks) {
        going_ask(r, t);
        return;
    }
    size_t n = 0;
    if (q->what == STORE_SCAN_CHANNELS)
        s->prefix[n++] = 'c';
    if (q->prefix.n)
        memcpy(s->prefix + n, q->prefix.p, q->prefix.n);
    s->walk = (struct walk){.kind = q->what == STORE_SCAN_USERS ? 'u' : 'm',
                            .place = place,
                            .prefix = slice_of(s->prefix, n + q->prefix.n),
                            .done = scan_found,
                            .ctx = t};
    if (!q->cursor.n) {
        uint8_t size = SIZE_MIN;
        while (size < SIZE_PAGE && 1u << size < 2 * q->limit)
            size++;
        s->walk.place.size = size;
    }
    walk_ask(r, &s->walk);
}
