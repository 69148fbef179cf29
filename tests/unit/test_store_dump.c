/* Export and import of the embedded engine: what was there is there again, on both databases, and nothing is lost or
 * overwritten on the way. */
#define UTIL_MAIN
#include "test_store_util.h"

#include "core/base/buf.h"
#include "storage/dump.h"
#include "storage/local/export.h"
#include "storage/local/import.h"

#include <signal.h>
#include <sys/resource.h>

static char file[2][160]; /* exports */
static char why[DUMP_WHY_MAX];

static void files_init(struct world *w)
{
    for (int i = 0; i < 2; i++)
        snprintf(file[i], sizeof file[i], "%s.export%d", w->dir, i);
}

static void files_fini(void)
{
    for (int i = 0; i < 2; i++)
        unlink(file[i]);
}

/* --- What a store holds, as text ---------------------------------------------------------------------------------- */

static void tell_message(struct buf *out, const struct store_message *m)
{
    buf_printf(out, "  %llu %llu at %llu edited %llu%s %.*s (%.*s): %.*s\n", (unsigned long long)m->seq,
               (unsigned long long)m->id, (unsigned long long)m->created_ms, (unsigned long long)m->edited_ms,
               m->recalled ? " recalled" : "", (int)m->sender.n, m->sender.p, (int)m->sender_name.n, m->sender_name.p,
               (int)m->content.n, m->content.p);
}

static void tell_history(struct world *w, struct buf *out, struct slice conv)
{
    struct store_range r = {.conv = conv, .has_after = true, .limit = 100000};
    enum store_status status = CALL(w, store_range, &r);
    buf_printf(out, "  history %d: %llu-%llu\n", status, (unsigned long long)r.first, (unsigned long long)r.last);
    for (uint32_t i = 0; status == STORE_OK && i < r.page.n; i++)
        tell_message(out, &r.page.messages[i]);
    store_page_free(&r.page);
    struct store_conv_load c = {.conv = conv};
    assert_int_equal(CALL(w, store_conv_load, &c), STORE_OK);
    buf_printf(out, "  exists %d seq %llu first %llu last id %llu members %u tier %d users %d %d blocks %d %d\n",
               c.exists, (unsigned long long)c.seq, (unsigned long long)c.first, (unsigned long long)c.last_id,
               c.members, c.tier, c.user_exists[0], c.user_exists[1], c.blocks[0], c.blocks[1]);
}

static void tell_user(struct world *w, struct buf *out, struct slice id)
{
    struct store_user_load u = {.id = id, .going = true};
    enum store_status status = CALL(w, store_user_load, &u);
    buf_printf(out, "user %.*s: %d", (int)id.n, id.p, status);
    if (status == STORE_OK)
        buf_printf(out, " %.*s epoch %u guest %d due %llu revoked %llu inbox %u\n", (int)u.name.n, u.name.p,
                   u.user.epoch, u.user.guest, (unsigned long long)u.user.guest_due_ms,
                   (unsigned long long)u.user.revoked_ms, u.inbox);
    for (uint32_t i = 0; status == STORE_OK && i < u.subscription_count; i++)
        buf_printf(out, "  in %.*s push %d events %d\n", (int)u.subscriptions[i].channel.n,
                   u.subscriptions[i].channel.p, u.subscriptions[i].push, u.subscriptions[i].events);
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

static void tell_channel(struct world *w, struct buf *out, struct slice name)
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

static void tell_all(struct world *w, struct buf *out, enum store_scan_what what)
{
    struct store_scan q = {.what = what, .limit = 1000};
    assert_int_equal(CALL(w, store_scan, &q), STORE_OK);
    assert_false(q.more);
    for (uint32_t i = 0; i < q.n; i++) {
        const struct store_scanned *s = &q.list[i];
        buf_printf(out, "%d %.*s (%.*s) guest %d recall %d tier %d members %u seq %llu\n", what, (int)s->id.n, s->id.p,
                   (int)s->name.n, s->name.p, s->guest, s->recall, s->tier, s->members, (unsigned long long)s->seq);
        if (what == STORE_SCAN_USERS || what == STORE_SCAN_GOING_USERS)
            tell_user(w, out, s->id);
        else
            tell_channel(w, out, s->id);
    }
    free(q.list);
    free(q.arena);
}

static void tell_notes(struct world *w, struct buf *out, const char *prefix)
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
static char *tell_store(struct world *w)
{
    struct buf out = BUF_INIT;
    for (int what = STORE_SCAN_USERS; what <= STORE_SCAN_GOING_CHANNELS; what++)
        tell_all(w, &out, (enum store_scan_what)what);
    tell_user(w, &out, S("fallen")); /* whom no list has */
    tell_channel(w, &out, S("went"));
    tell_notes(w, &out, "ban:");
    tell_notes(w, &out, "s/");
    buf_byte(&out, 0);
    assert_true(buf_ok(&out));
    return out.p;
}

/* --- A store that has something of everything --------------------------------------------------------------------- */

static struct store_append say_as(struct world *w, const struct conv_key *c, enum store_tier tier, const char *who,
                                  const char *text, const char *client, uint64_t ttl, uint32_t max)
{
    struct store_append a = append_of(c, tier, who, text);
    a.client_id = S(client);
    a.ttl_ms = ttl;
    a.max = max;
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    return a;
}

static void note(struct world *w, const char *key, const char *value)
{
    struct store_note_put n = {.note = {S(key), S(value)}};
    assert_int_equal(CALL(w, store_note_put, &n), STORE_OK);
}

static void forget(struct world *w, const char *id, enum store_forget_step step, bool recall)
{
    struct store_user_forget f = {.id = S(id), .force = true, .step = step, .recall = recall};
    assert_int_equal(CALL(w, store_user_forget, &f), STORE_OK);
}

static void fill_users(struct world *w)
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

static void fill_pairs(struct world *w)
{
    assert_int_equal(dm(w, "ann", "bob", "one", "c1").op.status, STORE_OK);
    uint64_t second = dm(w, "bob", "ann", "two", "c2").id;
    assert_int_equal(dm(w, "bob", "ann", "three", "c3").op.status, STORE_OK);
    assert_int_equal(dm(w, "cat", "ann", "four", "c4").op.status, STORE_OK);
    assert_int_equal(dm(w, "ann", "ann", "to myself", "").op.status, STORE_OK);
    assert_int_equal(dm(w, "again", "ann", "of before", "").op.status, STORE_OK);
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

static void fill_channels(struct world *w)
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
static void fill_jump(struct world *w)
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

static void fill_all(struct world *w, bool jump)
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

static void fill(struct world *w)
{
    fill_all(w, true);
}

/* --- Out and in --------------------------------------------------------------------------------------------------- */

static uint64_t export_from(struct local *s, const struct identity *id, bool lost, const char *path)
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
static uint64_t export_world(struct world *w, const char *path)
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

static int fill_from(void *ctx, struct local *s, char *text, size_t size)
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
static void import_world(struct world *w, const char *path)
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

static void same_time(struct world *to, const struct world *from)
{
    atomic_store(&to->wall, atomic_load(&from->wall));
    atomic_store(&to->boot, atomic_load(&from->boot));
}

static struct buf bytes_of(const char *path)
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

static void same_files(void)
{
    struct buf a = bytes_of(file[0]), b = bytes_of(file[1]);
    assert_int_equal(a.n, b.n);
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i])
            fail_msg("the files differ at byte %zu of %zu", i, a.n);
    buf_free(&a);
    buf_free(&b);
}

static void same_texts(const char *a, const char *b)
{
    size_t line = 0;
    for (size_t i = 0; a[i] || b[i]; i++) {
        if (a[i] != b[i])
            fail_msg("\n%.200s\nbecame\n%.200s", a + line, b + line);
        line = a[i] == '\n' ? i + 1 : line;
    }
}

/* The file has records of each kind that this engine has. */
static void every_kind(void)
{
    struct dump_reader *in;
    struct dump_record r;
    assert_int_equal(dump_open(&in, file[0], why, sizeof why), 0);
    while (dump_next(in, &r) == 1)
        continue;
    for (unsigned k = 1; k < DUMP_END; k++)
        if ((dump_read(in, (enum dump_kind)k) == 0) != (k == DUMP_DIGEST))
            fail_msg("%llu %s", (unsigned long long)dump_read(in, (enum dump_kind)k),
                     dump_kind_name((enum dump_kind)k));
    dump_reader_free(in);
}

static void round_trip(const char *from, const char *to)
{
    struct world a, b;
    world_init(&a, from);
    world_init(&b, to);
    files_init(&a);
    a.hooks.names_max = 1;
    world_open(&a);
    fill(&a);
    char *before = tell_store(&a);
    assert_true(util_rows(&a, KV_META, S("f")) > 0);
    bool closes = strcmp(from, "rocksdb") == 0;
    if (closes)
        world_close(&a);
    uint64_t messages = export_world(&a, file[0]);
    assert_true(messages > 1000);
    same_time(&b, &a);
    import_world(&b, file[0]);
    char *after = tell_store(&b);
    same_texts(before, after);
    util_sound(&b);
    if (strcmp(to, "rocksdb") == 0)
        world_close(&b);
    assert_int_equal(export_world(&b, file[1]), messages);
    same_files();
    every_kind();
    free(before);
    free(after);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

static void rocksdb_to_rocksdb(void **state)
{
    (void)state;
    round_trip("rocksdb", "rocksdb");
}

static void rocksdb_to_memory(void **state)
{
    (void)state;
    round_trip("rocksdb", "memory");
}

static void memory_to_rocksdb(void **state)
{
    (void)state;
    round_trip("memory", "rocksdb");
}

/* --- What goes on afterwards -------------------------------------------------------------------------------------- */

static uint64_t id_of(struct world *w, const struct conv_key *c)
{
    return util_load_of(w, c).last_id;
}

static void numbers_go_on(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill_all(&a, false);
    struct conv_key big = util_channel("big"), pair = util_pair("ann", "bob"), went = util_channel("went"),
                    fresh = util_channel("fresh");
    uint64_t newest = dm(&a, "ann", "bob", "the newest", "c9").id;
    world_close(&a);
    (void)export_world(&a, file[0]);
    b.o.node = 0; /* ids of another node, and a clock an hour behind, come after all the same */
    same_time(&b, &a);
    atomic_fetch_sub(&b.wall, 3600 * 1000 - 1000);
    import_world(&b, file[0]);
    assert_int_equal(say(&b, &big, TIER_LARGE, "maker", "next"), 1101);
    assert_true(id_of(&b, &big) > newest);
    assert_int_equal(dm(&b, "bob", "ann", "next", "c10").seq, 5);
    struct store_append repeat = dm(&b, "ann", "bob", "the newest", "c9");
    assert_true(repeat.duplicate);
    assert_int_equal(repeat.id, newest);
    assert_int_equal(repeat.seq, 4);
    (void)util_made(&b, "went");
    assert_int_equal(say(&b, &went, TIER_SMALL, "maker", "again"), 2); /* its name remembers */
    (void)util_made(&b, "fresh");
    assert_int_equal(say(&b, &fresh, TIER_SMALL, "maker", "first"), 1);
    struct store_user_save u = {.id = S("fallen"), .name = S("New"), .create = true};
    assert_int_equal(CALL(&b, store_user_save, &u), STORE_OK);
    assert_int_equal(u.user.epoch, 1); /* no token of the former one opens it */
    world_restart(&b);                 /* the imported directory is like any other */
    assert_int_equal(util_load_of(&b, &pair).seq, 5);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* After lost power numbers go on above all that may have been given out, in another directory too. */
static void a_jump_is_made_up_for(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    struct conv_key room = util_channel("room");
    uint64_t seq = util_load_of(&a, &room).seq;
    world_close(&a);
    (void)export_world(&a, file[0]);
    world_open(&a);
    uint64_t next = say(&a, &room, TIER_SMALL, "bob", "next");
    assert_true(next > seq + 1);
    same_time(&b, &a);
    import_world(&b, file[0]);
    assert_int_equal(say(&b, &room, TIER_SMALL, "bob", "next"), next);
    assert_int_equal(say(&b, &room, TIER_SMALL, "bob", "next"), next + 1);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* Deletions that were under way can be ended. */
static void deletions_go_on(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    world_close(&a);
    (void)export_world(&a, file[0]);
    same_time(&b, &a);
    import_world(&b, file[0]);
    forget(&b, "falling", FORGET_END, false);
    struct conv_key going = util_channel("going");
    struct store_channel_wipe wipe = {.conv = conv_key_slice(&going)};
    assert_int_equal(CALL(&b, store_channel_wipe, &wipe), STORE_DENIED);
    assert_int_equal(wipe.members, 1);
    (void)util_leave(&b, &going, "maker");
    assert_int_equal(CALL(&b, store_channel_wipe, &wipe), STORE_OK);
    struct conv_key empty = util_channel("empty");
    util_wait_gone(&b, &empty); /* a channel that nothing is left of goes */
    world_pass(&b, 10000);
    struct store_guests_due due = {.limit = 10};
    assert_int_equal(CALL(&b, store_guests_due, &due), STORE_OK);
    assert_int_equal(due.n, 1);
    assert_true(slice_eq(due.ids[0], S("guest")));
    free(due.ids);
    free(due.arena);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* What was hidden at the export does not come back by other options. */
static void hidden_stays_hidden(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    struct conv_key c = util_made(&a, "c");
    for (int i = 0; i < 5; i++)
        say(&a, &c, TIER_LARGE, "maker", "old");
    world_pass(&a, 8 * DAY);
    for (int i = 0; i < 3; i++)
        say(&a, &c, TIER_LARGE, "maker", "new");
    world_close(&a);
    assert_int_equal(export_world(&a, file[0]), 3);
    b.o.tiers[TIER_LARGE] = (struct store_tier_options){0, 0, DURABILITY_COMMIT};
    same_time(&b, &a);
    import_world(&b, file[0]);
    PAGE(&b, &c, 0, -1, 10, "6 7 8", 6, 8, false);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* --- What is refused ---------------------------------------------------------------------------------------------- */

static int export_to(struct world *w, const char *path)
{
    struct dump_writer *out;
    assert_int_equal(dump_create(&out, path, why, sizeof why), 0);
    int r = store_export(&w->o, out, why, sizeof why);
    if (r == 0)
        r = dump_finish(out, why, sizeof why);
    dump_writer_free(out);
    return r;
}

static int import_of(struct world *w, const char *path)
{
    struct dump_reader *in;
    int r = dump_open(&in, path, why, sizeof why);
    if (r)
        return r;
    r = store_import(&w->o, in, why, sizeof why);
    dump_reader_free(in);
    return r;
}

static void directories_are_guarded(void **state)
{
    (void)state;
    struct world a, b;
    char shm[64];
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    shm_name(a.dir, shm);
    assert_int_equal(export_to(&a, file[0]), ERR_NOTFOUND);
    assert_non_null(strstr(why, "there is no database in the data directory"));
    assert_int_equal(access(shm, F_OK), -1);
    world_open(&a);
    fill(&a);
    assert_int_equal(export_to(&a, file[0]), ERR_EXISTS);
    assert_non_null(strstr(why, "is in use by another server"));
    assert_int_equal(access(file[0], F_OK), -1);
    world_close(&a);
    assert_int_equal(export_to(&a, file[0]), 0);
    assert_int_equal(export_to(&a, file[1]), 0); /* nothing was changed by it */
    assert_int_equal(access(shm, F_OK), -1);
    assert_int_equal(import_of(&a, file[0]), ERR_EXISTS);
    assert_non_null(strstr(why, "has a database already: an import needs one without"));
    world_open(&b);
    assert_int_equal(import_of(&b, file[0]), ERR_EXISTS);
    assert_non_null(strstr(why, "is in use by another server"));
    world_close(&b);
    assert_int_equal(import_of(&b, file[0]), ERR_EXISTS); /* a server has begun there */
    world_open(&a);
    struct conv_key room = util_channel("room");
    assert_true(util_exists(&a, &room));
    struct world none = {.o = a.o};
    none.o.engine = "memory";
    assert_int_equal(export_to(&none, file[1]), ERR_INVALID);
    assert_non_null(strstr(why, "keeps nothing"));
    assert_int_equal(import_of(&none, file[0]), ERR_INVALID);
    assert_non_null(strstr(why, "keeps nothing"));
    none.o.engine = "paper";
    assert_int_equal(export_to(&none, file[1]), ERR_INVALID);
    assert_int_equal(import_of(&none, file[0]), ERR_INVALID);
    assert_string_equal(why, "there is no storage engine \"paper\"");
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* A file that is cut leaves the directory as it was: a server begins there, or another import. */
static void a_failed_import_leaves_nothing(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    world_close(&a);
    assert_int_equal(export_to(&a, file[0]), 0);
    struct buf whole = bytes_of(file[0]);
    for (size_t cut = 0; cut < whole.n; cut += whole.n / 5 + 1) {
        FILE *f = fopen(file[1], "w");
        assert_int_equal(fwrite(whole.p, 1, cut, f), cut);
        fclose(f);
        assert_int_equal(import_of(&b, file[1]), ERR_INVALID);
        assert_non_null(strstr(why, cut ? "is cut short after" : "is no export"));
    }
    assert_int_equal(import_of(&b, file[0]), 0);
    world_open(&b);
    struct conv_key room = util_channel("room");
    assert_true(util_exists(&b, &room));
    buf_free(&whole);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* Killed in the middle: no server takes it for a database, and the import can be made again. */
static void a_killed_import_is_no_database(void **state)
{
    (void)state;
    struct world a, b;
    struct local *s;
    char text[8];
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    world_close(&a);
    assert_int_equal(export_to(&a, file[0]), 0);
    assert_int_equal(local_open_empty(&s, &b.o, &b.hooks, why, sizeof why), 0);
    store_be64(text, META_FILLING);
    struct kv_change c = {.family = KV_META, .kind = KV_PUT, .key = META_VERSION, .value = slice_of(text, 8)};
    assert_int_equal(s->kv->ops->write(s->kv, &c, 1), 0);
    assert_int_equal(s->kv->ops->sync(s->kv), 0);
    local_close_still(s); /* all that was written is there, and the end is not */
    assert_int_equal(world_try(&b), ERR_INVALID);
    assert_non_null(strstr(b.why, "an import into this directory was cut short"));
    assert_int_equal(export_to(&b, file[1]), ERR_INVALID);
    assert_non_null(strstr(why, "an import into this directory was cut short"));
    same_time(&b, &a);
    assert_int_equal(import_of(&b, file[0]), 0);
    world_open(&b);
    struct conv_key room = util_channel("room");
    assert_true(util_exists(&b, &room));
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* No file may grow larger, as on a full disk. */
static void files_at_most(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    struct world a, b;
    char temp[200], current[200];
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    world_close(&a);
    signal(SIGXFSZ, SIG_IGN);
    files_at_most(20000);
    struct dump_writer *out;
    assert_int_equal(dump_create(&out, file[0], why, sizeof why), 0);
    int r = store_export(&a.o, out, why, sizeof why);
    assert_true(r == 0 || dump_failed(out));
    assert_int_equal(dump_finish(out, why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, "cannot write /"));
    assert_non_null(strstr(why, "File too large"));
    dump_writer_free(out);
    files_at_most(0);
    snprintf(temp, sizeof temp, "%s.tmp", file[0]);
    assert_int_equal(access(file[0], F_OK), -1);
    assert_int_equal(access(temp, F_OK), -1);
    assert_int_equal(export_to(&a, file[0]), 0);
    files_at_most(20000);
    r = import_of(&b, file[0]);
    files_at_most(0);
    assert_int_equal(r, ERR_IO);
    assert_non_null(strstr(why, "the database cannot be written"));
    snprintf(current, sizeof current, "%s/db/CURRENT", b.dir);
    assert_int_equal(access(current, F_OK), -1);
    assert_int_equal(import_of(&b, file[0]), 0);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* Messages whose numbers do not follow, and members of a channel that there is not. */
static void strange_files_do_no_harm(void **state)
{
    (void)state;
    struct world b;
    world_init(&b, "rocksdb");
    files_init(&b);
    struct dump_record store = {.kind = DUMP_STORE, .store = {.clock_ms = T0, .steady_ms = T0}};
    struct dump_record conv = {.kind = DUMP_CONV,
                               .conv = {.key = S("cx"), .seq = 9, .given = 9, .low = 3, .last_id = 90, .flags = 1}};
    struct dump_record member = {.kind = DUMP_MEMBER, .member = {.user = S("u"), .conv = S("cnone")}};
    const struct {
        uint64_t seq, id;
    } bad[] = {{3, 50}, {10, 50}, {5, 91}, {4, 50}, {6, 40}}; /* after one of seq 4 and id 40 */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dump_writer *out;
        assert_int_equal(dump_create(&out, file[0], why, sizeof why), 0);
        dump_put(out, &store);
        dump_put(out, &conv);
        struct dump_record m = {.kind = DUMP_MESSAGE, .message = {.seq = 4, .id = 40, .sender = S("u")}};
        dump_put(out, &m);
        m.message.seq = bad[i].seq;
        m.message.id = bad[i].id;
        dump_put(out, &m);
        assert_int_equal(dump_finish(out, why, sizeof why), 0);
        dump_writer_free(out);
        assert_int_equal(import_of(&b, file[0]), ERR_INVALID);
        assert_string_equal(why, "message 2 of the export has a number that does not follow");
    }
    struct dump_writer *out;
    assert_int_equal(dump_create(&out, file[0], why, sizeof why), 0);
    dump_put(out, &store);
    dump_put(out, &conv);
    dump_put(out, &member);
    member.member.conv = S("cx");
    dump_put(out, &member);
    member.member.conv = S("czone");
    dump_put(out, &member);
    assert_int_equal(dump_finish(out, why, sizeof why), 0);
    dump_writer_free(out);
    assert_int_equal(import_of(&b, file[0]), 0);
    world_open(&b);
    struct conv_key x = util_channel("x"), none = util_channel("none");
    assert_int_equal(util_load_of(&b, &x).members, 1);
    assert_false(util_exists(&b, &none));
    assert_int_equal(util_rows(&b, KV_CHANNEL, S("m")), 1);
    assert_int_equal(util_rows(&b, KV_USER, S("s")), 1);
    assert_int_equal(util_rows(&b, KV_USER, S("r")), 1);
    files_fini();
    world_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rocksdb_to_rocksdb),
        cmocka_unit_test(rocksdb_to_memory),
        cmocka_unit_test(memory_to_rocksdb),
        cmocka_unit_test(numbers_go_on),
        cmocka_unit_test(a_jump_is_made_up_for),
        cmocka_unit_test(deletions_go_on),
        cmocka_unit_test(hidden_stays_hidden),
        cmocka_unit_test(directories_are_guarded),
        cmocka_unit_test(a_failed_import_leaves_nothing),
        cmocka_unit_test(a_killed_import_is_no_database),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(strange_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
