/* The store over restarts, kills and losses of power, and in front of damaged files. RocksDB alone. */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    world_init(w, "rocksdb");
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

static void options_load(struct world *w);
static void options_async(struct world *w);
static void options_mixed(struct world *w);
static void options_churn(struct world *w);

/* --- Another process, to be killed -------------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int from; /* what it tells: struct told */
};

/* An acknowledgement. */
struct told {
    uint64_t conv, seq, id;
};

/* This program again, as `NAME DIRECTORY`: see main. Its standard output is what it tells. No store may be open
 * here. */
static struct child child_start(struct world *w, const char *name)
{
    int ends[2];
    assert_null(w->s);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "child", name, w->dir, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    return (struct child){.pid = pid, .from = ends[0]};
}

static void child_kill(struct child *c)
{
    int status;
    kill(c->pid, SIGKILL);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Waits until the child has done all, then kills it. Returns how many it told. */
static uint32_t child_finish(struct child *c, struct told *out, uint32_t max)
{
    uint32_t n = 0;
    while (n < max && read(c->from, &out[n], sizeof(*out)) == (ssize_t)sizeof(*out))
        n++;
    child_kill(c);
    close(c->from);
    return n;
}

/* A shell command that must work. */
static void __attribute__((format(printf, 1, 2))) run(const char *fmt, ...)
{
    char cmd[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(cmd, sizeof(cmd), fmt, args);
    va_end(args);
    assert_true(n > 0 && n < (int)sizeof(cmd));
    assert_int_equal(system(cmd), 0);
}

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

/* --- Kills -------------------------------------------------------------------------------------------------------- */

enum { KILL_CONVS = 4 }; /* two channels, two pairs */

static struct conv_key kill_conv(unsigned i)
{
    return i == 0 ? util_channel("a") : i == 1 ? util_channel("b") : util_pair("ann", i == 2 ? "bob" : "cid");
}

/* Appends without end, and tells each acknowledgement. */
static void load_without_end(struct world *w, int to)
{
    enum { WIDTH = 64 };
    static struct store_append ops[WIDTH];
    static struct conv_key keys[KILL_CONVS];
    for (unsigned i = 0; i < KILL_CONVS; i++)
        keys[i] = kill_conv(i);
    (void)util_made(w, "a");
    (void)util_made(w, "b");
    for (;;) {
        for (unsigned i = 0; i < WIDTH; i++) {
            unsigned k = i % KILL_CONVS;
            ops[i] = append_of(&keys[k], k < 2 ? TIER_SMALL : TIER_DM, "ann", "some text of a message");
            ops[i].receiver = k < 2 ? SLICE_NONE : S("bob");
            POST(w, store_append, &ops[i]);
        }
        for (unsigned i = 0; i < WIDTH; i++) {
            util_wait(w, &ops[i].op);
            struct told t = {i % KILL_CONVS, ops[i].seq, ops[i].id};
            if (ops[i].op.status != STORE_OK || write(to, &t, sizeof(t)) != (ssize_t)sizeof(t))
                _exit(1);
        }
    }
}

static void kills(void **state)
{
    struct world *w = *state;
    uint64_t told_seq[KILL_CONVS] = {0}, told_id[KILL_CONVS] = {0};
    options_load(w);
    for (int round = 0; round < 12; round++) {
        struct child c = child_start(w, "load");
        struct told t;
        uint32_t stop = 100 + (uint32_t)round * 211, n = 0;
        while (n < stop && read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t)) {
            n++;
            assert_true(t.seq > told_seq[t.conv] && t.id > told_id[t.conv]);
            told_seq[t.conv] = t.seq;
            told_id[t.conv] = t.id;
        }
        child_kill(&c);
        while (read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t)) { /* what it had told and we had not read */
            told_seq[t.conv] = t.seq;
            told_id[t.conv] = t.id;
        }
        close(c.from);
        world_open(w);
        for (unsigned k = 0; k < KILL_CONVS; k++) {
            struct conv_key key = kill_conv(k);
            struct store_range r = page_of(w, &key, 0, -1, 1000000);
            uint64_t last_id = 0;
            assert_true(r.page.n >= told_seq[k]);
            assert_int_equal(r.last, r.page.n);
            for (uint32_t i = 0; i < r.page.n; i++) {
                assert_int_equal(r.page.messages[i].seq, i + 1);
                assert_true(r.page.messages[i].id > last_id);
                last_id = r.page.messages[i].id;
                if (i + 1 == told_seq[k])
                    assert_true(last_id == told_id[k]);
            }
            store_page_free(&r.page);
            struct store_append a = append_of(&key, k < 2 ? TIER_SMALL : TIER_DM, "ann", "after");
            assert_int_equal(CALL(w, store_append, &a), STORE_OK);
            assert_int_equal(a.seq, r.last + 1);
            assert_true(a.id > last_id);
            told_seq[k] = a.seq;
            told_id[k] = a.id;
        }
        world_close(w);
    }
}

/* Answers before writes: what was told may be missing, but no number is given twice, and the messages that are there
 * keep their order. */
static void async_load(struct world *w, int to)
{
    struct conv_key c = util_made(w, "a");
    for (;;) {
        struct store_append a = append_of(&c, TIER_SMALL, "ann", "text");
        if (CALL(w, store_append, &a) != STORE_OK)
            _exit(1);
        struct told t = {0, a.seq, a.id};
        if (write(to, &t, sizeof(t)) != (ssize_t)sizeof(t))
            _exit(1);
    }
}

/* The same, and shared memory is tidied away each time: no gaps all the same. At durability async there may be. */
static void kills_tidied(void **state)
{
    struct world *w = *state;
    struct conv_key key = util_channel("a");
    uint64_t seq = 0;
    options_load(w);
    for (int round = 0; round < 4; round++) {
        struct child c = child_start(w, "load");
        struct told t;
        char shm[64];
        for (int n = 0; n < 300 && read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t);)
            n++;
        child_kill(&c);
        close(c.from);
        shm_name(w->dir, shm);
        assert_int_equal(unlink(shm), 0);
        world_open(w);
        struct store_range r = page_of(w, &key, 0, -1, 1000000);
        assert_int_equal(r.last, r.page.n);
        assert_true(r.last > seq);
        store_page_free(&r.page);
        seq = say(w, &key, TIER_SMALL, "ann", "after");
        assert_int_equal(seq, r.last + 1);
        world_close(w);
    }
}

static void async_kills(void **state)
{
    struct world *w = *state;
    struct conv_key key = util_channel("a");
    uint64_t seq = 0, id = 0;
    options_async(w);
    for (int round = 0; round < 6; round++) {
        struct child c = child_start(w, "async");
        struct told t;
        for (int n = 0; n < 200 && read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t); n++) {
            assert_true(t.seq > seq && t.id > id);
            seq = t.seq;
            id = t.id;
        }
        child_kill(&c);
        while (read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t)) {
            seq = t.seq;
            id = t.id;
        }
        close(c.from);
    }
    world_open(w);
    struct store_append a = append_of(&key, TIER_SMALL, "ann", "after");
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    assert_true(a.seq > seq && a.id > id);
    struct store_range r = page_of(w, &key, -1, -1, 100000);
    for (uint32_t i = 1; i < r.page.n; i++) {
        assert_true(r.page.messages[i].seq > r.page.messages[i - 1].seq &&
                    r.page.messages[i].id > r.page.messages[i - 1].id);
    }
    store_page_free(&r.page);
}

/* Channels are made, hear something or nothing, and go, without end. What was told is told on. */
static void churn(struct world *w, int to)
{
    for (unsigned i = 0;; i++) {
        char name[2] = {(char)('a' + i % 5), 0};
        struct conv_key c = util_channel(name);
        struct store_member_put m = join(w, &c, "ann");
        for (unsigned n = 0; n < i % 3; n++) {
            struct store_append a = append_of(&c, TIER_SMALL, "ann", "text");
            if (CALL(w, store_append, &a) != STORE_OK || a.seq <= m.seq)
                _exit(1);
            struct told t = {i % 5, a.seq, a.id};
            if (write(to, &t, sizeof(t)) != (ssize_t)sizeof(t))
                _exit(1);
        }
        struct store_member_del d = {.conv = conv_key_slice(&c), .user = S("ann")};
        if (m.op.status != STORE_OK || CALL(w, store_member_del, &d) != STORE_OK)
            _exit(1);
        world_pass(w, 300);
    }
}

/* Killed while channels go and come: the books are right, and no number is given twice. */
static void churn_kills(void **state)
{
    struct world *w = *state;
    uint64_t seq[5] = {0}, id = 0;
    for (int round = 0; round < 8; round++) {
        struct child c = child_start(w, "churn");
        struct told t;
        for (int n = 0; n < 150 + 37 * round && read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t); n++) {
            assert_true(t.seq == seq[t.conv] + 1 && t.id > id);
            seq[t.conv] = t.seq;
            id = t.id;
        }
        child_kill(&c);
        while (read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t)) {
            seq[t.conv] = t.seq;
            id = t.id;
        }
        close(c.from);
        options_churn(w);
        world_open(w);
        util_sound(w);
        for (unsigned k = 0; k < 5; k++) {
            char name[2] = {(char)('a' + k), 0};
            struct conv_key key = util_channel(name);
            struct store_member_put m = join(w, &key, "bob");
            assert_true(m.seq == seq[k] || m.seq == seq[k] + 1); /* one may have been stored and not told */
            struct store_append a = append_of(&key, TIER_SMALL, "bob", "after");
            assert_int_equal(CALL(w, store_append, &a), STORE_OK);
            assert_true(a.seq == m.seq + 1 && a.id > id);
            seq[k] = a.seq;
            id = a.id;
            struct store_member_del d[2] = {{.conv = conv_key_slice(&key), .user = S("bob")},
                                            {.conv = conv_key_slice(&key), .user = S("ann")}};
            (void)CALL(w, store_member_del, &d[0]);
            (void)CALL(w, store_member_del, &d[1]);
        }
        world_close(w);
    }
}

/* --- Losses ------------------------------------------------------------------------------------------------------- */

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

/* What a child may be asked to do, and the options that it does it with. */
static void options_load(struct world *w)
{
    w->o.inbox_max = 0;
    w->o.tiers[TIER_SMALL].max = w->o.tiers[TIER_DM].max = 0;
}
static void options_async(struct world *w)
{
    w->o.tiers[TIER_SMALL] = (struct store_tier_options){0, 0, DURABILITY_ASYNC};
}
static void options_mixed(struct world *w)
{
    w->o.sync_every_ms = 60000;
}
static void options_churn(struct world *w)
{
    w->o.tiers[TIER_SMALL] = (struct store_tier_options){1000, 0, DURABILITY_COMMIT};
}
static void options_settled(struct world *w)
{
    (void)w;
}
static const struct {
    const char *name;
    void (*options)(struct world *w);
    void (*run)(struct world *w, int to);
} children[] = {
    {"load", options_load, load_without_end}, {"async", options_async, async_load}, {"mixed", options_mixed, mixed},
    {"settled", options_settled, settled},    {"churn", options_churn, churn},
};

static int child_main(const char *name, const char *dir)
{
    static struct world w;
    world_init(&w, "rocksdb");
    rmdir(w.dir);
    snprintf(w.dir, sizeof(w.dir), "%s", dir);
    for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++) {
        if (strcmp(children[i].name, name) == 0) {
            children[i].options(&w);
            if (world_try(&w)) {
                fprintf(stderr, "in the child: %s\n", w.why);
                return 1;
            }
            children[i].run(&w, 1);
            close(1);
            for (;;)
                pause();
        }
    }
    return 1;
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

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(clock_jumps, setup, teardown),
        cmocka_unit_test_setup_teardown(two_servers, setup, teardown),
        cmocka_unit_test_setup_teardown(places, setup, teardown),
        cmocka_unit_test_setup_teardown(kills, setup, teardown),
        cmocka_unit_test_setup_teardown(kills_tidied, setup, teardown),
        cmocka_unit_test_setup_teardown(async_kills, setup, teardown),
        cmocka_unit_test_setup_teardown(churn_kills, setup, teardown),
        cmocka_unit_test_setup_teardown(power_loss, setup, teardown),
        cmocka_unit_test_setup_teardown(loss_then_a_change, setup, teardown),
        cmocka_unit_test_setup_teardown(damage, setup, teardown),
        cmocka_unit_test_setup_teardown(database_gone, setup, teardown),
    };
    return cmocka_run_group_tests_name("restarts", tests, NULL, NULL);
}
