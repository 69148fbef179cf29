/* The store over restarts and losses of power, and in front of damaged files. RocksDB alone. */
#define UTIL_MAIN
#include "tests/unit/test_store_child.h"

#include <dirent.h>
#include <fcntl.h>

/* --- Clean ends --------------------------------------------------------------------------------------------------- */

static void everything_stays(void **state)
{
    struct world *w = *state;
    world_open(w);
    struct conv_key c = util_channel("room"), p = util_pair("ann", "bob");
    user_make(w, "ann", "Ann");
    user_make(w, "bob", "Bob");
    struct store_user_save g = {
        .id = S("gus"), .name = S("Gus"), .user = {.guest = true, .epoch = 3}, .guest_ttl_ms = 1000};
    assert_int_equal(CALL(w, store_user_save, &g), STORE_OK);
    join(w, &c, "ann");
    join(w, &c, "bob");
    struct store_channel_save tier = {.conv = conv_key_slice(&c), .tier = TIER_LARGE};
    assert_int_equal(CALL(w, store_channel_save, &tier), STORE_OK);
    say(w, &c, TIER_SMALL, "ann", "one");
    say(w, &c, TIER_LARGE, "ann", "two");
    struct store_append first = dm(w, "ann", "bob", "hello", "id1");
    struct store_block b = {.user = S("bob"), .target = S("eve"), .blocked = true};
    assert_int_equal(CALL(w, store_block, &b), STORE_OK);
    struct store_recall r = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 1};
    assert_int_equal(CALL(w, store_recall, &r), STORE_OK);
    uint64_t last_id = first.id;
    for (int round = 0; round < 3; round++) {
        world_restart(w);
        world_pass(w, 2000);
        PAGE(w, &c, -1, -1, 9, "1 2", 1, 2, false);
        INBOX(w, "bob", 0, 9, "hello", false);
        assert_int_equal(inbox_size_of(w, "bob"), 1);
        struct store_append again = dm(w, "ann", "bob", "hello", "id1");
        assert_true(again.duplicate && again.seq == first.seq && again.id == first.id &&
                    again.created_ms == first.created_ms);
        struct store_conv_load l = {.conv = conv_key_slice(&c)};
        assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
        assert_true(l.exists && l.members == 2 && l.tier == TIER_LARGE && l.seq == 2 && l.first == 1);
        struct store_user_load u = {.id = S("gus")};
        assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
        assert_true(u.user.guest && u.user.guest_due && u.user.epoch == 3 && slice_eq(u.name, S("Gus")));
        store_user_load_free(&u);
        u.id = S("bob");
        assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
        assert_int_equal(u.subscription_count, 1);
        store_user_load_free(&u);
        struct store_guests_due due = {.limit = 9};
        assert_int_equal(CALL(w, store_guests_due, &due), STORE_OK);
        assert_int_equal(due.n, 1);
        free(due.ids);
        free(due.arena);
        struct conv_key other = util_channel("other");
        struct store_member_put full = {
            .conv = conv_key_slice(&other), .user = S("bob"), .may_create = true, .channels_max = 1};
        assert_int_equal(CALL(w, store_member_put, &full), STORE_LIMIT); /* the number of channels is known */
        struct store_mark_read m = {.conv = conv_key_slice(&c), .user = S("ann")};
        assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
        assert_int_equal(m.read, 2);
        struct conv_key own = util_made(w, "n");
        struct store_append n = append_of(&own, TIER_SMALL, "ann", "x");
        assert_int_equal(CALL(w, store_append, &n), STORE_OK);
        assert_int_equal(n.seq, round + 1);
        assert_true(n.id > last_id);
        last_id = n.id;
    }
    PAGE(w, &p, -1, -1, 9, "1", 1, 1, false);
}

/* Ids ascend over restarts whatever the wall clock does meanwhile; nothing expires by a jump. */
static void clock_jumps(void **state)
{
    struct world *w = *state;
    static const int64_t hours[] = {-1, 1, -24 * 20, 24 * 20, -24 * 365 * 3, 24 * 365 * 13, -24 * 365 * 10, 0};
    static const bool paused[] = {false, false, false, true,
                                  true,  true,  false, false}; /* the seventh brings it back to the truth */
    uint64_t last_id = 0, seq = 0;
    struct store_stats stats;
    world_open(w);
    struct conv_key c = util_made(w, "c");
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 3; k++) {
            struct store_append a = append_of(&c, TIER_LARGE, "ann", "x"); /* lives 7 days */
            assert_int_equal(CALL(w, store_append, &a), STORE_OK);
            assert_int_equal(a.seq, ++seq);
            assert_true(a.id > last_id);
            assert_int_equal(a.created_ms, atomic_load(&w->wall));
            last_id = a.id;
            world_pass(w, 10);
        }
        if (i % 2) { /* while running */
            atomic_fetch_add(&w->wall, (uint64_t)(hours[i] * 3600000));
        } else {
            world_close(w);
            atomic_fetch_add(&w->wall, (uint64_t)(hours[i] * 3600000));
            world_open(w);
        }
        PAGE(w, &c, 0, -1, 1, "1", 1, seq, true); /* even the oldest: no jump made anything older */
        store_get_stats(w->s, &stats);
        assert_int_equal(stats.clock_paused, paused[i]);
    }
    atomic_fetch_add(&w->wall, 365 * DAY);
    store_get_stats(w->s, &stats);
    assert_true(stats.clock_paused);
    PAGE(w, &c, 0, -1, 1, "1", 1, seq, true);
    store_clock_accept(w->s);
    store_get_stats(w->s, &stats);
    assert_false(stats.clock_paused);
    PAGE(w, &c, 0, -1, 1, "", seq + 1, seq, false); /* told that a year has passed, it believes it */
    struct store_append a = append_of(&c, TIER_LARGE, "ann", "x");
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    assert_true(a.id > last_id);
}

static void two_servers(void **state)
{
    struct world *w = *state;
    struct store *second;
    char why[512];
    world_open(w);
    assert_int_equal(local_open_hooked(&second, &w->o, &w->hooks, why, sizeof(why)), ERR_EXISTS);
    assert_non_null(strstr(why, w->dir));
    assert_non_null(strstr(why, "in use"));
    assert_null(second);
    struct conv_key c = util_made(w, "c");
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), 1);
    world_restart(w);
    PAGE(w, &c, -1, -1, 9, "1", 1, 1, false);
}

static void places(void **state)
{
    struct world *w = *state;
    char deep[200], file[200];
    snprintf(deep, sizeof(deep), "%s/not/yet/there", w->dir);
    w->o.path = deep;
    world_open(w);
    struct conv_key c = util_made(w, "c");
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), 1);
    world_close(w);
    struct stat st; /* what is made is nobody else's, whatever the umask */
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    snprintf(file, sizeof(file), "%.190s/db", deep);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    static const mode_t refused[] = {0777, 01777, 0702, 0703}, taken[] = {0700, 0750, 0755, 0770, 02775};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char mode[8];
        assert_int_equal(chmod(deep, refused[i]), 0);
        assert_int_equal(world_try(w), ERR_AUTH);
        snprintf(mode, sizeof(mode), "%04o", refused[i]);
        assert_non_null(strstr(w->why, mode));
        assert_non_null(strstr(w->why, deep));
    }
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        assert_int_equal(chmod(deep, taken[i]), 0);
        assert_int_equal(chmod(file, 0777 & ~(i % 2 ? 0 : 0070)), 0); /* the database's own is mended */
        world_open(w);
        assert_int_equal(stat(file, &st), 0);
        assert_int_equal(st.st_mode & 07777, i % 2 ? 0750 : 0700);
        world_close(w);
    }
    snprintf(file, sizeof(file), "%s/file", w->dir);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    w->o.path = file;
    assert_int_equal(world_try(w), ERR_IO);
    assert_non_null(strstr(w->why, file));
    w->o.engine = "paper";
    assert_int_equal(store_open(&w->s, &w->o, w->why, sizeof w->why), ERR_INVALID);
    assert_non_null(strstr(w->why, "paper"));
}

/* --- Losses ------------------------------------------------------------------------------------------------------- */

static void options_mixed(struct world *w)
{
    w->o.sync_every_ms = 60000;
}

/* Some of each durability, then the process is gone. */
static void mixed(struct world *w, int to)
{
    struct conv_key c = util_made(w, "a"), p = util_pair("ann", "bob");
    for (int i = 0; i < 150; i++) {
        struct store_append a = append_of(i % 2 ? &p : &c, i % 2 ? TIER_DM : TIER_SMALL, "ann", "text");
        if (CALL(w, store_append, &a) != STORE_OK)
            _exit(1);
        struct told t = {(uint64_t)(i % 2), a.seq, a.id};
        (void)!write(to, &t, sizeof(t));
    }
}

/* The log's file: the largest *.log of the database. */
static void log_name(const char *dir, char out[512], off_t *size)
{
    char db[256];
    snprintf(db, sizeof(db), "%s/db", dir);
    DIR *d = opendir(db);
    assert_non_null(d);
    *size = -1;
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        char name[512];
        size_t n = strlen(e->d_name);
        if (n > 4 && strcmp(e->d_name + n - 4, ".log") == 0) {
            snprintf(name, sizeof(name), "%s/%s", db, e->d_name);
            if (stat(name, &st) == 0 && st.st_size > *size) {
                *size = st.st_size;
                strcpy(out, name);
            }
        }
    }
    closedir(d);
    assert_true(*size > 0);
}

/* Power is lost: what was not synced is cut off the log, and shared memory is gone. Numbers go on beyond all that was
 * told. */
static void power_loss(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("a"), p = util_pair("ann", "bob");
    static struct told told[200];
    char name[512], home[128], copy[128], shm[64];
    off_t size;
    options_mixed(w);
    struct child ch = child_start(w, "mixed");
    uint32_t n = child_finish(&ch, told, 200);
    assert_int_equal(n, 150);
    strcpy(home, w->dir);
    strcpy(copy, w->dir);
    copy[strlen(copy) - 1] = copy[strlen(copy) - 1] == 'x' ? 'y' : 'x';
    for (int cut = 0; cut < 3; cut++) { /* the log as it is; without its last record; with a record that is cut short */
        run("cp -a '%s' '%s'", home, copy);
        strcpy(w->dir, copy);
        log_name(w->dir, name, &size);
        assert_int_equal(truncate(name, cut == 0 ? size : cut == 1 ? size - 700 : size - 3), 0);
        world_open(w);
        struct store_append a = append_of(&c, TIER_SMALL, "ann", "after"), b = append_of(&p, TIER_DM, "ann", "after");
        assert_int_equal(CALL(w, store_append, &a), STORE_OK);
        assert_int_equal(CALL(w, store_append, &b), STORE_OK);
        assert_true(a.seq > told[148].seq);                     /* never given twice */
        assert_true(b.seq >= 70 && b.seq <= told[149].seq + 1); /* sync: no gap over what is there */
        assert_true(a.id > told[149].id && b.id > told[149].id);
        struct store_range r = page_of(w, &p, -1, -1, 200);
        for (uint32_t i = 0; i < r.page.n; i++)
            assert_int_equal(r.page.messages[i].seq, i + 1);
        store_page_free(&r.page);
        world_close(w);
        shm_name(w->dir, shm);
        unlink(shm);
        run("rm -rf '%s'", copy);
        strcpy(w->dir, home);
    }
    /* In place, the machine having gone on: shared memory knows what was synced, and that may not be missing. */
    log_name(w->dir, name, &size);
    assert_int_equal(truncate(name, size / 2), 0);
    assert_int_equal(world_try(w), ERR_INVALID);
    assert_non_null(strstr(w->why, "had been synced"));
}

/* --- Damage ------------------------------------------------------------------------------------------------------- */

static void options_settled(struct world *w)
{
    (void)w;
}

static void settled(struct world *w, int to)
{
    struct conv_key c = util_made(w, "a");
    for (int i = 0; i < 300; i++) {
        struct store_append a = append_of(&c, TIER_SMALL, "ann", "0123456789 0123456789 0123456789");
        struct told t = {0, 0, 0};
        if (CALL(w, store_append, &a) != STORE_OK)
            _exit(1);
        (void)!write(to, &t, sizeof(t));
    }
    usleep(1500000); /* synced, and the mark knows it */
    struct store_append a = append_of(&c, TIER_SMALL, "ann", "last");
    (void)CALL(w, store_append, &a);
    usleep(300000);
}

enum damage { FLIP, CUT, REMOVE, DAMAGES };

static void damage_file(const char *name, enum damage how, unsigned tenths)
{
    struct stat st;
    assert_int_equal(stat(name, &st), 0);
    off_t at = st.st_size * tenths / 10;
    if (how == REMOVE) {
        assert_int_equal(unlink(name), 0);
    } else if (how == CUT) {
        assert_int_equal(truncate(name, at), 0);
    } else {
        char b;
        int fd = open(name, O_RDWR);
        assert_int_equal(pread(fd, &b, 1, at), 1);
        b = (char)(b ^ 0x40);
        assert_int_equal(pwrite(fd, &b, 1, at), 1);
        close(fd);
    }
}

/* Opens what was damaged: refused with a reason, or all is there, or reading says that it cannot; never less than there
 * was. */
static bool refused_or_whole(struct world *w, const char *what)
{
    struct conv_key c = util_channel("a");
    w->why[0] = '\0';
    if (world_try(w)) {
        assert_true(strlen(w->why) > 10);
        return true;
    }
    struct store_range r = {.conv = conv_key_slice(&c), .has_after = true, .limit = 1000};
    enum store_status status = CALL(w, store_range, &r);
    if (status == STORE_OK && r.page.n != 301)
        fail_msg("%s: a damaged database was opened with %u of 301 messages", what, r.page.n);
    assert_true(status == STORE_OK || status == STORE_FATAL || status == STORE_RETRY);
    store_page_free(&r.page);
    world_close(w);
    return false;
}

/* Puts the database and the mark back as they were. */
static void restore(struct world *w, const char *saved)
{
    run("rm -rf '%s/db' '%s/mark' && cp -a '%s/db' '%s/mark' '%s'", w->dir, w->dir, saved, saved, w->dir);
}

static void damage_all(struct world *w, const char *saved)
{
    char db[256], name[640];
    unsigned cases = 0, refused = 0;
    snprintf(db, sizeof(db), "%s/db", saved);
    DIR *d = opendir(db);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        bool log = strstr(e->d_name, ".log"), sst = strstr(e->d_name, ".sst"), manifest = strstr(e->d_name, "MANIFEST"),
             current = strcmp(e->d_name, "CURRENT") == 0;
        struct stat st;
        snprintf(name, sizeof(name), "%s/%s", db, e->d_name);
        if ((!log && !sst && !manifest && !current) || stat(name, &st) || st.st_size == 0)
            continue;
        for (int how = 0; how < DAMAGES; how++) {
            for (unsigned tenths = how == REMOVE ? 9 : 1; tenths < 10; tenths += manifest ? 1 : 4) {
                char what[320];
                snprintf(what, sizeof(what), "%s, damage %d at %u/10", e->d_name, how, tenths);
                restore(w, saved);
                snprintf(name, sizeof(name), "%s/db/%s", w->dir, e->d_name);
                damage_file(name, (enum damage)how, tenths);
                bool no = refused_or_whole(w, what);
                cases++;
                refused += no;
                if (no && (manifest || current)) { /* and refusing did no harm: with the file back all is there */
                    run("cp -a '%s/db/%s' '%s/db'", saved, e->d_name, w->dir);
                    assert_false(refused_or_whole(w, what));
                }
            }
        }
    }
    closedir(d);
    assert_true(cases > 10 && refused > cases / 2);
}

static void damage(void **state)
{
    struct world *w = *state;
    static struct told told[400];
    char saved[200];
    struct child ch = child_start(w, "settled");
    assert_int_equal(child_finish(&ch, told, 400), 300);
    snprintf(saved, sizeof(saved), "%s.saved", w->dir);
    run("cp -a '%s' '%s'", w->dir, saved);
    damage_all(w, saved); /* as a kill left it: the data is in the log */
    restore(w, saved);
    assert_false(refused_or_whole(w, "undamaged")); /* and it ends cleanly: the data is in tables */
    run("rm -rf '%s' && cp -a '%s' '%s'", saved, w->dir, saved);
    damage_all(w, saved);
    run("rm -rf '%s'", saved);
}

/* The database's directory is gone, or emptied, under a mark that knows better. */
static void database_gone(void **state)
{
    struct world *w = *state;
    world_open(w);
    struct conv_key c = util_made(w, "a");
    say(w, &c, TIER_SMALL, "ann", "x");
    world_close(w);
    run("rm -rf '%s/db'", w->dir);
    assert_true(world_try(w) < 0);
    assert_true(strlen(w->why) > 10);
}

/* After a loss a conversation's head is written anew before its next message: by a member, by a tier. The jump is still
 * to come. */
static void loss_then_a_change(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("a");
    char home[128], copy[128], shm[64];
    world_open(w);
    join(w, &c, "ann");
    for (int i = 1; i <= 3; i++)
        assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), i);
    world_close(w);
    strcpy(home, w->dir);
    strcpy(copy, w->dir);
    copy[strlen(copy) - 1] = copy[strlen(copy) - 1] == 'x' ? 'y' : 'x';
    run("cp -a '%s' '%s'", home, copy); /* of which a copy knows not what was told since */
    strcpy(w->dir, copy);
    world_open(w);
    join(w, &c, "bob");
    struct store_channel_save tier = {.conv = conv_key_slice(&c), .tier = TIER_LARGE};
    assert_int_equal(CALL(w, store_channel_save, &tier), STORE_OK);
    for (int i = 0; i < 2; i++) {
        world_restart(w);
        PAGE(w, &c, -1, -1, 9, "1 2 3", 1, 3, false);
        join(w, &c, i ? "cid" : "dan");
    }
    w->o.tiers[TIER_SMALL].ttl_ms = 1; /* nor does it get lost with the channel */
    world_restart(w);
    world_pass(w, 10);
    for (const char *const *user = (const char *const[]){"ann", "bob", "cid", "dan", NULL}; *user; user++) {
        struct store_member_del d = {.conv = conv_key_slice(&c), .user = S(*user)};
        assert_int_equal(CALL(w, store_member_del, &d), STORE_OK);
        assert_int_equal(d.gone, strcmp(*user, "dan") == 0);
    }
    world_restart(w);
    assert_true(join(w, &c, "ann").created);
    uint64_t seq = say(w, &c, TIER_SMALL, "ann", "after");
    assert_true(seq > 64); /* 64 were reserved, and may have been given out */
    world_restart(w);
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "after"), seq + 1);
    world_close(w);
    shm_name(w->dir, shm);
    unlink(shm);
    run("rm -rf '%s'", copy);
    strcpy(w->dir, home);
}

const struct child_task children[] = {
    {"mixed", options_mixed, mixed},
    {"settled", options_settled, settled},
    {0},
};

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_stays, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(clock_jumps, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(two_servers, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(places, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(power_loss, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(loss_then_a_change, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(damage, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(database_gone, child_setup, child_teardown),
    };
    return cmocka_run_group_tests_name("restarts", tests, NULL, NULL);
}
