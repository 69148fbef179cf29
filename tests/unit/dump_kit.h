/*
 * Helpers of the tests of exports: a store that has something of everything, all that a store tells, and the way out of
 * one store and into another. Included by test_store_dump*.c and test_archive_export.c
 * alone, which define UTIL_MAIN.
 */
#ifndef MAGPIE_TEST_DUMP_KIT_H
#define MAGPIE_TEST_DUMP_KIT_H

#include "tests/unit/test_store_util.h"

#include "core/base/buf.h"
#include "storage/dump.h"
#include "storage/local/export.h"
#include "storage/local/import.h"
#include "storage/redis/dump/still.h"

static char file[2][160]; /* exports */
static char why[DUMP_WHY_MAX];

static inline void files_init(struct world *w)
{
    for (int i = 0; i < 2; i++)
        snprintf(file[i], sizeof file[i], "%s.export%d", w->dir, i);
}

static inline void files_fini(void)
{
    for (int i = 0; i < 2; i++)
        unlink(file[i]);
}

/* --- What a store holds, as text ---------------------------------------------------------------------------------- */

/* Texts that come in whatever order. */
struct texts {
    char *list[1000];
    size_t n;
};

static inline void texts_add(struct texts *t, struct buf *b)
{
    buf_byte(b, 0);
    assert_true(buf_ok(b) && t->n < sizeof t->list / sizeof *t->list);
    t->list[t->n++] = b->p;
}

static inline int texts_cmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends them in order, and frees them. */
static inline void texts_tell(struct texts *t, struct buf *out)
{
    qsort(t->list, t->n, sizeof *t->list, texts_cmp);
    for (size_t i = 0; i < t->n; i++) {
        buf_str(out, t->list[i]);
        free(t->list[i]);
    }
}

static inline void tell_message(struct buf *out, const struct store_message *m)
{
    buf_printf(out, "  %llu %llu at %llu edited %llu%s %.*s (%.*s): %.*s\n", (unsigned long long)m->seq,
               (unsigned long long)m->id, (unsigned long long)m->created_ms, (unsigned long long)m->edited_ms,
               m->recalled ? " recalled" : "", (int)m->sender.n, m->sender.p, (int)m->sender_name.n, m->sender_name.p,
               (int)m->content.n, m->content.p);
}

static inline void tell_history(struct world *w, struct buf *out, struct slice conv)
{
    struct store_range r = {.conv = conv, .has_after = true, .limit = 100000};
    enum store_status status = CALL(w, store_range, &r);
    buf_printf(out, "  history %d: %llu-%llu\n", status, (unsigned long long)r.first, (unsigned long long)r.last);
    for (uint32_t i = 0; status == STORE_OK && i < r.page.n; i++)
        tell_message(out, &r.page.messages[i]);
    store_page_free(&r.page);
    struct store_conv_load c = {.conv = conv};
    assert_int_equal(CALL(w, store_conv_load, &c), STORE_OK);
    buf_printf(out, "  exists %d seq %llu\n", c.exists, (unsigned long long)c.seq);
    if (c.exists)
        buf_printf(out, "  first %llu last id %llu members %u tier %d users %d %d blocks %d %d\n",
                   (unsigned long long)c.first, (unsigned long long)c.last_id, c.members, c.tier, c.user_exists[0],
                   c.user_exists[1], c.blocks[0], c.blocks[1]);
}

static inline void tell_user(struct world *w, struct buf *out, struct slice id)
{
    struct store_user_load u = {.id = id, .going = true};
    enum store_status status = CALL(w, store_user_load, &u);
    buf_printf(out, "user %.*s: %d", (int)id.n, id.p, status);
    if (status == STORE_OK && u.name.n) /* of one that goes, nothing but its subscriptions is told */
        buf_printf(out, " %.*s epoch %u guest %d due %llu revoked %llu inbox %u\n", (int)u.name.n, u.name.p,
                   u.user.epoch, u.user.guest, (unsigned long long)u.user.guest_due_ms,
                   (unsigned long long)u.user.revoked_ms, u.inbox);
    struct texts in = {.n = 0};
    for (uint32_t i = 0; status == STORE_OK && i < u.subscription_count; i++) {
        struct buf one = BUF_INIT;
        buf_printf(&one, "  in %.*s push %d events %d\n", (int)u.subscriptions[i].channel.n,
                   u.subscriptions[i].channel.p, u.subscriptions[i].push, u.subscriptions[i].events);
        texts_add(&in, &one);
    }
    texts_tell(&in, out);
    store_user_load_free(&u);
    struct store_conversations c = {.user = id, .limit = 1000};
    assert_int_equal(CALL(w, store_conversations, &c), STORE_OK);
    for (uint32_t i = 0; i < c.n; i++) {
        buf_printf(out, "  has %.*s seq %llu read %llu unread %llu\n", (int)c.list[i].conv.n, c.list[i].conv.p,
                   (unsigned long long)c.list[i].seq, (unsigned long long)c.list[i].read,
                   (unsigned long long)c.list[i].unread);
        if (!conv_is_channel(c.list[i].conv))
            tell_history(w, out, c.list[i].conv);
    }
    store_conversations_free(&c);
    struct store_inbox_peek p = {.user = id, .limit = 1000};
    assert_int_equal(CALL(w, store_inbox_peek, &p), STORE_OK);
    buf_printf(out, "  inbox\n");
    for (uint32_t i = 0; i < p.page.n; i++)
        tell_message(out, &p.page.messages[i]);
    store_page_free(&p.page);
}

static inline void tell_channel(struct world *w, struct buf *out, struct slice name)
{
    struct conv_key k = conv_key_channel(name);
    struct store_members m = {.conv = conv_key_slice(&k), .going = true, .limit = 1000};
    enum store_status status = CALL(w, store_members, &m);
    buf_printf(out, "channel %.*s: %d\n", (int)name.n, name.p, status);
    for (uint32_t i = 0; status == STORE_OK && i < m.n; i++)
        buf_printf(out, "  %.*s (%.*s)\n", (int)m.people[i].id.n, m.people[i].id.p, (int)m.people[i].name.n,
                   m.people[i].name.p);
    free(m.people);
    free(m.arena);
    tell_history(w, out, conv_key_slice(&k));
}

static inline void tell_all(struct world *w, struct buf *out, enum store_scan_what what)
{
    char cursor[64];
    struct store_scan q = {.what = what, .limit = 1000, .more = true};
    struct texts texts = {.n = 0};
    while (q.more) {
        q.cursor = slice_of(cursor, q.next_n);
        memcpy(cursor, q.next, q.next_n);
        assert_int_equal(CALL(w, store_scan, &q), STORE_OK);
        for (uint32_t i = 0; i < q.n; i++) {
            const struct store_scanned *s = &q.list[i];
            struct buf one = BUF_INIT;
            buf_printf(&one, "%d %.*s (%.*s) guest %d recall %d tier %d members %u seq %llu\n", what, (int)s->id.n,
                       s->id.p, (int)s->name.n, s->name.p, s->guest, s->recall, s->tier, s->members,
                       (unsigned long long)s->seq);
            if (what == STORE_SCAN_USERS || what == STORE_SCAN_GOING_USERS)
                tell_user(w, &one, s->id);
            else
                tell_channel(w, &one, s->id);
            texts_add(&texts, &one);
        }
        free(q.list);
        free(q.arena);
    }
    texts_tell(&texts, out);
}

static inline void tell_notes(struct world *w, struct buf *out, const char *prefix)
{
    struct store_notes n = {.prefix = S(prefix), .limit = 1000};
    assert_int_equal(CALL(w, store_notes, &n), STORE_OK);
    for (uint32_t i = 0; i < n.n; i++)
        buf_printf(out, "note %.*s = %.*s\n", (int)n.notes[i].key.n, n.notes[i].key.p, (int)n.notes[i].value.n,
                   n.notes[i].value.p);
    free(n.notes);
    free(n.arena);
}

/* Everything that can be asked of the store. The caller frees. */
static inline char *tell_store(struct world *w)
{
    struct buf out = BUF_INIT;
    for (int what = STORE_SCAN_USERS; what <= STORE_SCAN_GOING_CHANNELS; what++)
        tell_all(w, &out, (enum store_scan_what)what);
    tell_user(w, &out, S("fallen")); /* whom no list has */
    tell_user(w, &out, S("system"));
    tell_channel(w, &out, S("went"));
    tell_notes(w, &out, "ban:");
    tell_notes(w, &out, "s/");
    buf_byte(&out, 0);
    assert_true(buf_ok(&out));
    return out.p;
}

/* --- A store that has something of everything --------------------------------------------------------------------- */

static inline struct store_append say_as(struct world *w, const struct conv_key *c, enum store_tier tier,
                                         const char *who, const char *text, const char *client, uint64_t ttl,
                                         uint32_t max)
{
    struct store_append a = append_of(c, tier, who, text);
    a.client_id = S(client);
    a.ttl_ms = ttl;
    a.max = max;
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    return a;
}

static inline void note(struct world *w, const char *key, const char *value)
{
    struct store_note_put n = {.note = {S(key), S(value)}};
    assert_int_equal(CALL(w, store_note_put, &n), STORE_OK);
}

static inline void forget(struct world *w, const char *id, enum store_forget_step step, bool recall)
{
    struct store_user_forget f = {.id = S(id), .force = true, .step = step, .recall = recall};
    assert_int_equal(CALL(w, store_user_forget, &f), STORE_OK);
}

static inline void fill_users(struct world *w)
{
    static const char *const names[] = {"ann", "bob", "cat", "dan", "fallen", "again", "falling", "maker"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(user_make(w, names[i], "A name"), STORE_OK);
    struct store_user_save u = {.id = S("ann"), .name = S("Änne"), .user = {.epoch = 3}};
    assert_int_equal(CALL(w, store_user_save, &u), STORE_OK);
    struct store_user_save guest = {
        .id = S("guest"), .name = S("G"), .fresh = true, .user = {.guest = true}, .guest_ttl_ms = 5000};
    assert_int_equal(CALL(w, store_user_save, &guest), STORE_OK);
    struct store_block b = {.user = S("ann"), .target = S("dan"), .blocked = true};
    assert_int_equal(CALL(w, store_block, &b), STORE_OK);
    struct store_block other = {.user = S("cat"), .target = S("ann"), .blocked = true};
    assert_int_equal(CALL(w, store_block, &other), STORE_OK);
}

static inline void fill_pairs(struct world *w)
{
    assert_int_equal(dm(w, "ann", "bob", "one", "c1").op.status, STORE_OK);
    uint64_t second = dm(w, "bob", "ann", "two", "c2").id;
    assert_int_equal(dm(w, "bob", "ann", "three", "c3").op.status, STORE_OK);
    assert_int_equal(dm(w, "cat", "ann", "four", "c4").op.status, STORE_OK);
    assert_int_equal(dm(w, "ann", "ann", "to myself", "").op.status, STORE_OK);
    assert_int_equal(dm(w, "again", "ann", "of before", "").op.status, STORE_OK);
    assert_int_equal(dm(w, "system", "ann", "of one who has no account", "").op.status, STORE_OK);
    struct store_inbox_ack ack = {.user = S("ann"), .ids = &second, .id_count = 1};
    assert_int_equal(CALL(w, store_inbox_ack, &ack), STORE_OK);
    struct conv_key k = util_pair("ann", "bob");
    struct store_mark_read m = {.conv = conv_key_slice(&k), .user = S("bob"), .seq = 2};
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
    struct store_recall recall = {.conv = conv_key_slice(&k), .seq = 1};
    assert_int_equal(CALL(w, store_recall, &recall), STORE_OK);
    struct store_edit edit = {.conv = conv_key_slice(&k), .sender = S("bob"), .seq = 3, .content = S("drei")};
    assert_int_equal(CALL(w, store_edit, &edit), STORE_OK);
}

static inline void fill_channels(struct world *w)
{
    struct conv_key room = util_made(w, "room"), big = util_made(w, "big"), going = util_made(w, "going"),
                    went = util_made(w, "went"), empty = util_made(w, "empty"), small = util_made(w, "small");
    struct store_member_put m = {.conv = conv_key_slice(&room),
                                 .user = S("ann"),
                                 .set_push = true,
                                 .push = MODE_NONE,
                                 .set_events = true,
                                 .events = true};
    for (int i = 0; i < 5; i++)
        say(w, &room, TIER_SMALL, "maker", "before");
    assert_int_equal(CALL(w, store_member_put, &m), STORE_OK);
    (void)join(w, &room, "bob");
    (void)say_as(w, &room, TIER_SMALL, "ann", "short", "short", 1000, 0);
    (void)say_as(w, &room, TIER_LARGE, "bob", "in another tier", "x", 0, 0);
    for (int i = 0; i < 20; i++)
        (void)say_as(w, &small, TIER_SMALL, "maker", "of which some stay", "", 0, 7);
    for (int i = 0; i < 1100; i++) /* more than the tier keeps */
        say(w, &big, TIER_LARGE, "maker", "big");
    struct store_channel_save save = {.conv = conv_key_slice(&big), .tier = TIER_LARGE};
    assert_int_equal(CALL(w, store_channel_save, &save), STORE_OK);
    for (int i = 0; i < 3; i++) { /* with names_max, floors are what is left of the first two */
        char name[8];
        snprintf(name, sizeof name, "old%d", i);
        struct conv_key old = util_made(w, name);
        (void)say_as(w, &old, TIER_SMALL, "maker", "x", "", 1, 0);
        world_pass(w, 10);
        (void)util_leave(w, &old, "maker");
        util_wait_gone(w, &old);
    }
    say(w, &going, TIER_SMALL, "maker", "last words");
    struct store_channel_close close = {.conv = conv_key_slice(&going)};
    assert_int_equal(CALL(w, store_channel_close, &close), STORE_OK);
    (void)say_as(w, &went, TIER_SMALL, "maker", "x", "", 1, 0);
    (void)util_leave(w, &empty, "maker");
    world_pass(w, 10);
    (void)util_leave(w, &went, "maker");
    util_wait_gone(w, &went);
}

/* Numbering has jumped, and would jump once more, as after lost power. */
static inline void fill_jump(struct world *w)
{
    char mark[200];
    struct conv_key k = util_channel("room");
    if (strcmp(w->o.engine, "rocksdb") != 0)
        return;
    for (int i = 0; i < 2; i++) {
        snprintf(mark, sizeof mark, "%s/mark", w->dir);
        world_close(w);
        assert_int_equal(unlink(mark), 0);
        world_open(w);
        if (i == 0)
            assert_true(say(w, &k, TIER_SMALL, "bob", "after the jump") > 8);
    }
}

static inline void fill_all(struct world *w, bool jump)
{
    fill_users(w);
    fill_pairs(w);
    forget(w, "again", FORGET_BEGIN, false);
    forget(w, "again", FORGET_END, false);
    struct store_user_save u = {.id = S("again"), .name = S("Another"), .create = true};
    assert_int_equal(CALL(w, store_user_save, &u), STORE_OK);
    fill_channels(w);
    if (jump)
        fill_jump(w);
    forget(w, "fallen", FORGET_BEGIN, false);
    forget(w, "fallen", FORGET_END, false);
    forget(w, "falling", FORGET_BEGIN, true);
    note(w, "ban:eve", "for ever");
    note(w, "ban:mallory", "");
    note(w, "s/script/count", "42");
    world_pass(w, 2000);
}

static inline void fill(struct world *w)
{
    fill_all(w, true);
}

/* --- Out and in --------------------------------------------------------------------------------------------------- */

static inline uint64_t export_from(struct local *s, const struct identity *id, bool lost, const char *path)
{
    struct dump_writer *out;
    assert_int_equal(dump_create(&out, path, why, sizeof why), 0);
    assert_int_equal(export_all(s, id, lost, out), 0);
    assert_int_equal(dump_finish(out, why, sizeof why), 0);
    uint64_t messages = dump_written(out, DUMP_MESSAGE);
    dump_writer_free(out);
    return messages;
}

/* Exports the closed store of a world, or the open one in memory. */
static inline uint64_t export_world(struct world *w, const char *path)
{
    struct identity id;
    struct local *s;
    bool lost;
    if (strcmp(w->o.engine, "memory") == 0) {
        util_look(w);
        assert_int_equal(identity_read(util_kv(w), &id), 0);
        id.last_id_ms = id.ids = id.last_id_ms ? id.last_id_ms : id.ids;
        return export_from(local_of(w->s), &id, false, path);
    }
    assert_null(w->s);
    if (local_open_still(&s, &id, &lost, &w->o, &w->hooks, why, sizeof why))
        fail_msg("%s", why);
    uint64_t messages = export_from(s, &id, lost, path);
    local_close_still(s);
    return messages;
}

static inline int fill_from(void *ctx, struct local *s, char *text, size_t size)
{
    (void)ctx;
    struct dump_reader *in;
    uint64_t instance;
    assert_int_equal(dump_open(&in, file[0], text, size), 0);
    int r = import_all(s, in, &instance, text, size);
    dump_reader_free(in);
    return r;
}

/* Opens a world's store with what the file has. */
static inline void import_world(struct world *w, const char *path)
{
    struct dump_reader *in;
    struct local *s;
    uint64_t instance;
    if (strcmp(w->o.engine, "memory") == 0) {
        w->hooks.fill = fill_from;
        world_open(w);
        return;
    }
    assert_int_equal(dump_open(&in, path, why, sizeof why), 0);
    assert_int_equal(local_open_empty(&s, &w->o, &w->hooks, why, sizeof why), 0);
    if (import_all(s, in, &instance, why, sizeof why))
        fail_msg("%s", why);
    assert_int_equal(local_close_filled(s, instance, IMPORT_GROUP), 0);
    dump_reader_free(in);
    world_open(w);
}

static inline void same_time(struct world *to, const struct world *from)
{
    atomic_store(&to->wall, atomic_load(&from->wall));
    atomic_store(&to->boot, atomic_load(&from->boot));
}

static inline struct buf bytes_of(const char *path)
{
    struct buf b = BUF_INIT;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char chunk[65536];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
        buf_put(&b, chunk, n);
    fclose(f);
    return b;
}

static inline void same_files(void)
{
    struct buf a = bytes_of(file[0]), b = bytes_of(file[1]);
    assert_int_equal(a.n, b.n);
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i])
            fail_msg("the files differ at byte %zu of %zu", i, a.n);
    buf_free(&a);
    buf_free(&b);
}

static inline void same_texts(const char *a, const char *b)
{
    size_t line = 0;
    for (size_t i = 0; a[i] || b[i]; i++) {
        if (a[i] != b[i])
            fail_msg("\n%.300s\nbecame\n%.300s", a + line, b + line);
        line = a[i] == '\n' ? i + 1 : line;
    }
}

static inline uint64_t id_of(struct world *w, const struct conv_key *c)
{
    return util_load_of(w, c).last_id;
}

static inline int export_to(struct world *w, const char *path)
{
    struct dump_writer *out;
    assert_int_equal(dump_create(&out, path, why, sizeof why), 0);
    int r = store_export(&w->o, out, why, sizeof why);
    if (r == 0)
        r = dump_finish(out, why, sizeof why);
    dump_writer_free(out);
    return r;
}

static inline int import_of(struct world *w, const char *path)
{
    struct dump_reader *in;
    int r = dump_open(&in, path, why, sizeof why);
    if (r)
        return r;
    r = store_import(&w->o, in, why, sizeof why);
    dump_reader_free(in);
    return r;
}

/* --- Clocks ------------------------------------------------------------------------------------------------------- */

/* A file of a store whose clock was moved once, and is in doubt since. */
static inline void clock_file(void)
{
    char move[16];
    struct dump_writer *out;
    store_be64(move, T0 - DAY);
    store_be64(move + 8, 77);
    struct dump_record r = {.kind = DUMP_STORE,
                            .store = {.clock_ms = T0,
                                      .steady_ms = T0 + 5000,
                                      .paused_from_ms = T0 + 4000,
                                      .last_id = UINT64_C(1) << 60,
                                      .flags = DUMP_PAUSED,
                                      .moves = slice_of(move, sizeof move)}};
    assert_int_equal(dump_create(&out, file[0], why, sizeof why), 0);
    assert_int_equal(dump_put(out, &r), 0);
    assert_int_equal(dump_finish(out, why, sizeof why), 0);
    dump_writer_free(out);
}

/* The world's store has it, goes on from it, and tells the same again. */
static inline void clock_check(struct world *w)
{
    struct store_stats stats;
    struct dump_reader *in;
    struct dump_record r;
    atomic_store(&w->wall, T0 + 40 * DAY); /* so that the doubt is not settled by itself */
    world_open(w);
    store_get_stats(w->s, &stats);
    assert_true(stats.clock_paused);
    assert_true(store_time_ms(w->s) >= T0 + 5000);
    /* the move, and what has passed since: a stamp of before it is older than the difference says */
    assert_true(store_age_ms(w->s, T0 - DAY - 1) >= DAY + 5000 + 77);
    world_close(w);
    if (strcmp(w->o.engine, "rocksdb") == 0)
        (void)export_world(w, file[1]);
    else
        assert_int_equal(export_to(w, file[1]), 0);
    assert_int_equal(dump_open(&in, file[1], why, sizeof why), 0);
    assert_int_equal(dump_next(in, &r), 1);
    assert_int_equal(r.store.flags & DUMP_PAUSED, DUMP_PAUSED);
    assert_int_equal(r.store.paused_from_ms, T0 + 4000);
    assert_true(r.store.clock_ms >= T0 && r.store.clock_ms < T0 + DAY && r.store.steady_ms >= T0 + 5000);
    assert_true(r.store.moves.n == 16 && load_be64(r.store.moves.p + 8) == 77);
    assert_true(r.store.last_id >= UINT64_C(1) << 60);
    dump_reader_free(in);
}

/* --- Clusters ----------------------------------------------------------------------------------------------------- */

/* A record with what it belongs to, so that it says the same wherever it stands. */
struct line {
    struct buf bytes;
};

static inline int line_cmp(const void *a, const void *b)
{
    return slice_cmp(buf_slice(&((const struct line *)a)->bytes), buf_slice(&((const struct line *)b)->bytes));
}

/* What both engines keep of a record; false: of this kind nothing. */
static inline bool line_of(const struct dump_record *r, struct slice conv, struct buf *out)
{
    struct dump_record same = *r;
    if (r->kind == DUMP_DEDUP || r->kind == DUMP_DIGEST || r->kind == DUMP_FLOOR)
        return false;
    if (r->kind == DUMP_STORE)
        same.store.last_id = 0; /* a cluster counts in places */
    if (r->kind == DUMP_CONV)
        same.conv.gone_ms = 0; /* which it does not keep */
    if (r->kind == DUMP_DELETED && !r->deleted.flags)
        same.deleted.epoch = 0; /* the user that is there has the larger one */
    if (r->kind == DUMP_MESSAGE)
        buf_slice_put(out, conv);
    assert_int_equal(dump_encode(out, &same), 0);
    return true;
}

static inline struct line *lines_of(const char *path, size_t *n)
{
    struct dump_reader *in;
    struct dump_record r;
    struct line *list = NULL;
    struct buf conv = BUF_INIT;
    int code;
    *n = 0;
    assert_int_equal(dump_open(&in, path, why, sizeof why), 0);
    while ((code = dump_next(in, &r)) == 1) {
        struct buf line = BUF_INIT;
        if (r.kind == DUMP_CONV) {
            buf_reset(&conv);
            buf_slice_put(&conv, r.conv.key);
        }
        if (line_of(&r, buf_slice(&conv), &line)) {
            list = realloc(list, (*n + 1) * sizeof *list);
            list[(*n)++].bytes = line;
        }
    }
    assert_int_equal(code, 0);
    dump_reader_free(in);
    buf_free(&conv);
    qsort(list, *n, sizeof *list, line_cmp);
    return list;
}

static inline void same_records(const char *a, const char *b)
{
    size_t n, m;
    struct line *x = lines_of(a, &n), *y = lines_of(b, &m);
    for (size_t i = 0; i < n && i < m; i++)
        if (!slice_eq(buf_slice(&x[i].bytes), buf_slice(&y[i].bytes)))
            fail_msg("record %zu of %zu, %zu: kinds %d, %d", i, n, m, x[i].bytes.p[0], y[i].bytes.p[0]);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        buf_free(&x[i].bytes);
        buf_free(&y[i].bytes);
    }
    free(x);
    free(y);
}

/* Sets a field of a hash under the world's prefix. */
static inline void cluster_set(struct world *w, unsigned part, char kind, struct slice rest, struct slice field,
                               struct slice value)
{
    struct still s;
    assert_int_equal(still_open(&s, &w->o, why, sizeof why), 0);
    struct call *c = still_change(&s, value.p ? "HSET" : "HDEL", part);
    call_key(s.r, c, kind, rest);
    call_arg(c, field);
    if (value.p)
        call_arg(c, value);
    still_send(&s, c);
    assert_int_equal(still_wait(&s), 0);
    still_close(&s);
}

#endif
