/* The file of an export: what its records may be, and that nothing cut, changed or put together is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/buf.h"
#include "core/base/hash.h"
#include "storage/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define S(x) slice_str(x)

static char folder[64], path[96];
static char why[DUMP_WHY_MAX];

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/magpie-dump-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/export", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* One of each kind but END. The texts live as long as the program. */
static unsigned samples(struct dump_record out[DUMP_KINDS])
{
    const struct dump_record all[] = {
        {.kind = DUMP_STORE,
         .store = {1700000000000, 1700000000001, 5, UINT64_MAX, DUMP_PAUSED | DUMP_UNSURE, S("0123456789abcdef")}},
        {.kind = DUMP_USER, .user = {S("u"), S("Name"), 7, 9, 8, DUMP_GUEST}},
        {.kind = DUMP_DELETED, .deleted = {S("gone"), 5, 6, DUMP_GONE_NOW | DUMP_GOING | DUMP_GOING_ALL}},
        {.kind = DUMP_CONV, .conv = {S("croom"), 10, 12, 3, 99, 4, 0, 2, 50, 2, DUMP_CONV_MADE | DUMP_CONV_CLOSING}},
        {.kind = DUMP_MESSAGE,
         .message = {S("u"), S("Name"), S("text"), 4, 77, 1000, 1001, 1002, 1003, 2, DUMP_EDITED}},
        {.kind = DUMP_MEMBER, .member = {S("u"), S("croom"), 3, 2, DUMP_EVENTS}},
        {.kind = DUMP_PAIR, .pair = {S("u"), slice_of("pa\0u", 4), 3}},
        {.kind = DUMP_BLOCK, .block = {S("u"), S("v")}},
        {.kind = DUMP_INBOX, .inbox = {S("u"), slice_of("pa\0u", 4), 7, 8, 9, 10, 0}},
        {.kind = DUMP_DEDUP, .dedup = {S("u"), S("croom"), S("c1"), 1, 2, 3, 4}},
        {.kind = DUMP_DIGEST, .digest = {S("0123456789abcdef"), 1, 2, 3, 1023}},
        {.kind = DUMP_NOTE, .note = {S("ban:x"), S("value")}},
        {.kind = DUMP_FLOOR, .floor = {44, 65535}},
    };
    _Static_assert(sizeof all / sizeof *all == DUMP_END - 1, "one of each");
    memcpy(out, all, sizeof all);
    return DUMP_END - 1;
}

/* Writes records to `path`. */
static void write_file(const struct dump_record *list, unsigned n)
{
    struct dump_writer *w;
    assert_int_equal(dump_create(&w, path, why, sizeof why), 0);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(dump_put(w, &list[i]), 0);
    assert_int_equal(dump_finish(w, why, sizeof why), 0);
    dump_writer_free(w);
}

static struct buf file_bytes(void)
{
    struct buf b = BUF_INIT;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
        buf_put(&b, chunk, n);
    fclose(f);
    return b;
}

static void put_bytes(const char *p, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

/* Reads `path` through; `why` has what is wrong with it. */
static int read_file(unsigned *n)
{
    struct dump_reader *r;
    struct dump_record rec;
    *n = 0;
    int code = dump_open(&r, path, why, sizeof why);
    if (code)
        return code;
    while ((code = dump_next(r, &rec)) == 1)
        ++*n;
    snprintf(why, sizeof why, "%s", dump_error(r));
    dump_reader_free(r);
    return code;
}

/* A file of these bytes as its only block, with sums that are right. */
static void put_block(struct slice records)
{
    struct buf b = BUF_INIT;
    char head[12] = "\x89Magpie\n", number[8];
    store_be16(head + 8, DUMP_VERSION);
    store_be64(number, hash_stable(slice_of(head, 12)));
    buf_put(&b, number, 8);
    buf_u32(&b, (uint32_t)records.n);
    buf_slice_put(&b, records);
    store_be64(number, hash_stable(buf_slice(&b)));
    buf_put(&b, number, 8);
    struct buf file = BUF_INIT;
    buf_put(&file, head, 12);
    buf_put(&file, b.p + 8, b.n - 8);
    put_bytes(file.p, file.n);
    buf_free(&file);
    buf_free(&b);
}

static void same_record(const struct dump_record *a, const struct dump_record *b)
{
    struct buf x = BUF_INIT, y = BUF_INIT;
    assert_int_equal(dump_encode(&x, a), 0);
    assert_int_equal(dump_encode(&y, b), 0);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.p, y.p, x.n);
    buf_free(&x);
    buf_free(&y);
}

static void records_come_back(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS], rec;
    unsigned n = samples(list);
    write_file(list, n);
    struct dump_reader *r;
    assert_int_equal(dump_open(&r, path, why, sizeof why), 0);
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(dump_next(r, &rec), 1);
            assert_int_equal(rec.kind, list[i].kind);
            same_record(&rec, &list[i]);
        }
        assert_int_equal(dump_next(r, &rec), 0);
        assert_int_equal(dump_next(r, &rec), 0);
        for (unsigned k = 1; k < DUMP_END; k++)
            assert_int_equal(dump_read(r, (enum dump_kind)k), 1);
        assert_true(dump_can_rewind(r));
        assert_int_equal(dump_rewind(r), 0);
    }
    dump_reader_free(r);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void fields_keep_their_values(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS], rec;
    unsigned n = samples(list);
    for (unsigned i = 0; i < n; i++) {
        struct buf b = BUF_INIT;
        assert_int_equal(dump_encode(&b, &list[i]), 0);
        struct slice bytes = buf_slice(&b);
        assert_int_equal(dump_decode(&bytes, &rec), 0);
        assert_int_equal(bytes.n, 0);
        for (size_t cut = 0; cut < b.n; cut++) {
            bytes = slice_of(b.p, cut);
            assert_int_equal(dump_decode(&bytes, &rec), ERR_INVALID);
        }
        buf_free(&b);
    }
    struct buf b = BUF_INIT;
    assert_int_equal(dump_encode(&b, &list[DUMP_CONV - 1]), 0);
    struct slice bytes = buf_slice(&b);
    assert_int_equal(dump_decode(&bytes, &rec), 0);
    assert_true(slice_eq(rec.conv.key, S("croom")));
    assert_int_equal(rec.conv.seq, 10);
    assert_int_equal(rec.conv.given, 12);
    assert_int_equal(rec.conv.low, 3);
    assert_int_equal(rec.conv.last_id, 99);
    assert_int_equal(rec.conv.skip_at, 4);
    assert_int_equal(rec.conv.skip, 2);
    assert_int_equal(rec.conv.max, 50);
    assert_int_equal(rec.conv.tier, 2);
    buf_free(&b);
}

static void a_cut_file_is_refused(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS];
    unsigned n = samples(list), read;
    write_file(list, n);
    struct buf whole = file_bytes();
    for (size_t cut = 0; cut < whole.n; cut++) {
        put_bytes(whole.p, cut);
        assert_int_equal(read_file(&read), ERR_INVALID);
        assert_non_null(strstr(why, cut < 8 ? "is no export" : "is cut short after"));
    }
    put_bytes(whole.p, whole.n);
    assert_int_equal(read_file(&read), 0);
    assert_int_equal(read, n);
    buf_byte(&whole, 0);
    put_bytes(whole.p, whole.n);
    assert_int_equal(read_file(&read), ERR_INVALID);
    assert_non_null(strstr(why, "goes on after its end"));
    buf_free(&whole);
}

static void a_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS];
    unsigned n = samples(list), read;
    write_file(list, n);
    struct buf whole = file_bytes();
    for (size_t bit = 0; bit < whole.n * 8; bit++) {
        whole.p[bit / 8] = (char)(whole.p[bit / 8] ^ 1 << bit % 8);
        put_bytes(whole.p, whole.n);
        assert_int_equal(read_file(&read), ERR_INVALID);
        assert_true(strlen(why) > strlen(path));
        whole.p[bit / 8] = (char)(whole.p[bit / 8] ^ 1 << bit % 8);
    }
    buf_free(&whole);
}

/* Blocks of several: none may be missing, doubled or swapped. */
static void blocks_follow_each_other(void **state)
{
    (void)state;
    enum { BLOCKS = 4, BIG = 300 * 1024 };
    struct dump_record list[DUMP_KINDS], many[DUMP_KINDS + BLOCKS];
    (void)samples(list);
    char *text = malloc(BIG);
    memset(text, 'x', BIG);
    many[0] = list[0];
    many[1] = list[DUMP_CONV - 1];
    many[1].conv.seq = many[1].conv.given = 100;
    for (unsigned i = 0; i < BLOCKS; i++) {
        many[2 + i] = list[DUMP_MESSAGE - 1];
        many[2 + i].message.seq = 10 + i;
        many[2 + i].message.content = slice_of(text, BIG);
    }
    write_file(many, 2 + BLOCKS);
    struct buf whole = file_bytes();
    size_t at[BLOCKS + 2] = {12};
    unsigned blocks = 0, read;
    for (size_t p = 12; p < whole.n; at[++blocks] = p)
        p += 4 + load_be32(whole.p + p) + 8;
    assert_int_equal(blocks, BLOCKS + 1);
    for (unsigned i = 0; i < blocks; i++) {
        put_bytes(whole.p, at[i]);
        FILE *f = fopen(path, "a"); /* block i is missing */
        fwrite(whole.p + at[i + 1], 1, whole.n - at[i + 1], f);
        fclose(f);
        assert_int_equal(read_file(&read), ERR_INVALID);
        put_bytes(whole.p, at[i + 1]);
        f = fopen(path, "a"); /* … and comes twice */
        fwrite(whole.p + at[i], 1, whole.n - at[i], f);
        fclose(f);
        assert_int_equal(read_file(&read), ERR_INVALID);
    }
    put_bytes(whole.p, whole.n);
    assert_int_equal(read_file(&read), 0);
    assert_int_equal(read, 2 + BLOCKS);
    buf_free(&whole);
    free(text);
}

static void a_version_to_come_is_refused(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS];
    unsigned n = samples(list), read;
    write_file(list, n);
    struct buf whole = file_bytes();
    whole.p[9] = 2;
    put_bytes(whole.p, whole.n);
    assert_int_equal(read_file(&read), ERR_INVALID);
    assert_non_null(strstr(why, "is an export of version 2.0; this server reads 1.0"));
    put_bytes("#!/bin/sh\n", 10);
    assert_int_equal(read_file(&read), ERR_INVALID);
    assert_non_null(strstr(why, "is no export of magpied"));
    unlink(path);
    assert_int_equal(read_file(&read), ERR_IO);
    assert_non_null(strstr(why, "No such file"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(read_file(&read), ERR_IO);
    assert_non_null(strstr(why, "directory"));
    rmdir(path);
    buf_free(&whole);
}

/* The sums are right, and the records are not. */
static void wrong_records_are_refused(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS];
    unsigned n = samples(list), read;
    struct buf b = BUF_INIT;
    put_block(S("no records"));
    assert_int_equal(read_file(&read), ERR_INVALID);
    assert_non_null(strstr(why, "that is none"));
    for (unsigned first = 1; first < n; first++) { /* not STORE */
        buf_reset(&b);
        assert_int_equal(dump_encode(&b, &list[first]), 0);
        put_block(buf_slice(&b));
        assert_int_equal(read_file(&read), ERR_INVALID);
        assert_non_null(strstr(why, "where none may stand"));
    }
    static const enum dump_kind orders[][3] = {{DUMP_STORE, DUMP_MESSAGE, DUMP_USER},
                                               {DUMP_STORE, DUMP_STORE, DUMP_USER},
                                               {DUMP_STORE, DUMP_USER, DUMP_MESSAGE}};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        buf_reset(&b);
        for (int k = 0; k < 3; k++)
            assert_int_equal(dump_encode(&b, &list[orders[i][k] - 1]), 0);
        put_block(buf_slice(&b));
        assert_int_equal(read_file(&read), ERR_INVALID);
        assert_non_null(strstr(why, "where none may stand"));
    }
    char counts[(DUMP_END - 1) * 8] = {0};
    counts[7] = 1;
    counts[15] = 3;
    buf_reset(&b);
    assert_int_equal(dump_encode(&b, &list[0]), 0);
    assert_int_equal(dump_encode(&b, &list[1]), 0);
    assert_int_equal(dump_encode(&b, &(struct dump_record){DUMP_END, .end = {slice_of(counts, sizeof counts)}}), 0);
    put_block(buf_slice(&b));
    assert_int_equal(read_file(&read), ERR_INVALID);
    assert_non_null(strstr(why, "has 1 users and says it has 3"));
    b.p[b.n - sizeof counts + 15] = 1;
    put_block(buf_slice(&b));
    assert_int_equal(read_file(&read), 0);
    buf_put(&b, b.p, 5);
    put_block(buf_slice(&b));
    assert_int_equal(read_file(&read), ERR_INVALID);
    assert_non_null(strstr(why, "goes on after its last record"));
    buf_free(&b);
}

static void values_have_bounds(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS];
    struct buf b = BUF_INIT;
    char long_text[300];
    memset(long_text, 'a', sizeof long_text);
    struct slice id65 = slice_of(long_text, 65), all = slice_of(long_text, 256);
    const uint64_t big = UINT64_C(1) << 48;
    (void)samples(list);
#define BAD(KIND, change)                                                                                              \
    do {                                                                                                               \
        struct dump_record r = list[DUMP_##KIND - 1];                                                                  \
        change;                                                                                                        \
        assert_int_equal(dump_encode(&b, &r), ERR_INVALID);                                                            \
        assert_int_equal(b.n, 0);                                                                                      \
    } while (0)
    BAD(STORE, r.store.moves.n = 15);
    BAD(STORE, r.store.flags = DUMP_UNSURE);
    BAD(STORE, r.store.clock_ms = big);
    BAD(USER, r.user.id = SLICE_NONE);
    BAD(USER, r.user.id = id65);
    BAD(USER, r.user.id = slice_of("a\0b", 3));
    BAD(USER, r.user.name = all);
    BAD(USER, r.user.flags = 2);
    BAD(USER, r.user.flags = 0);
    BAD(DELETED, r.deleted.flags = DUMP_GOING);
    BAD(CONV, r.conv.key = S("room"));
    BAD(CONV, r.conv.key = S("c"));
    BAD(CONV, r.conv.key = S("pa"));
    BAD(CONV, r.conv.key = slice_of("pb\0a", 4));
    BAD(CONV, r.conv.key = slice_of("pa\0a\0a", 6));
    BAD(CONV, r.conv.flags = 0);
    BAD(CONV, r.conv.flags = DUMP_CONV_MADE | DUMP_CONV_GONE);
    BAD(CONV, r.conv.flags = DUMP_CONV_GONE);
    BAD(CONV, r.conv.given = 9);
    BAD(CONV, r.conv.low = 11);
    BAD(CONV, r.conv.tier = 3);
    BAD(CONV, r.conv.seq = r.conv.given = big);
    BAD(MESSAGE, r.message.seq = 0);
    BAD(MESSAGE, r.message.id = 0);
    BAD(MESSAGE, r.message.flags = 0);
    BAD(MESSAGE, r.message.edited_ms = 0);
    BAD(MESSAGE, r.message.flags |= DUMP_RECALLED);
    BAD(MESSAGE, r.message.birth_ms = big);
    BAD(MESSAGE, r.message.tier = 3);
    BAD(MEMBER, r.member.conv = slice_of("pa\0u", 4));
    BAD(MEMBER, r.member.push = 4);
    BAD(PAIR, r.pair.conv = S("croom"));
    BAD(PAIR, r.pair.user = S("v"));
    BAD(INBOX, r.inbox.id = 0);
    BAD(DEDUP, r.dedup.client_id = SLICE_NONE);
    BAD(DIGEST, r.digest.digest.n = 15);
    BAD(DIGEST, r.digest.part = 1024);
    BAD(NOTE, r.note.key = SLICE_NONE);
    BAD(NOTE, r.note.key = slice_of(long_text, 201));
    BAD(NOTE, r.note.value.n = DUMP_NOTE_MAX + 1);
#undef BAD
    buf_free(&b);
}

static void what_cannot_be_written_is_told(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS];
    struct dump_writer *w;
    (void)samples(list);
    assert_int_equal(dump_create(&w, "/nowhere/at/all", why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, "cannot write /nowhere/at/all.tmp: No such file"));
    list[1].user.name.n = 256;
    assert_int_equal(dump_create(&w, path, why, sizeof why), 0);
    assert_int_equal(dump_put(w, &list[0]), 0);
    assert_int_equal(dump_put(w, &list[1]), ERR_INVALID);
    assert_true(dump_failed(w));
    assert_int_equal(dump_put(w, &list[0]), ERR_INVALID);
    assert_int_equal(dump_finish(w, why, sizeof why), ERR_INVALID);
    assert_non_null(strstr(why, "one of the users has a value"));
    dump_writer_free(w);
    char temp[128];
    snprintf(temp, sizeof temp, "%s.tmp", path);
    assert_int_equal(access(temp, F_OK), -1);
    assert_int_equal(access(path, F_OK), -1);
}

/* The file of before stays until the new one is whole. A full disk is what /dev/full is. */
static void a_file_is_whole_or_as_before(void **state)
{
    (void)state;
    struct dump_record list[DUMP_KINDS];
    struct dump_writer *w;
    unsigned n = samples(list), read;
    char temp[128];
    write_file(list, n);
    snprintf(temp, sizeof temp, "%s.tmp", path);
    assert_int_equal(dump_create(&w, path, why, sizeof why), 0);
    assert_int_equal(dump_put(w, &list[0]), 0);
    assert_int_equal(access(temp, F_OK), 0);
    dump_writer_free(w);
    assert_int_equal(access(temp, F_OK), -1);
    assert_int_equal(read_file(&read), 0);
    assert_int_equal(read, n);

    int out = dup(STDOUT_FILENO), full = open("/dev/full", O_WRONLY);
    assert_true(out >= 0 && full >= 0);
    fflush(stdout);
    dup2(full, STDOUT_FILENO);
    int code = dump_create(&w, "-", why, sizeof why);
    (void)dump_put(w, &list[0]);
    int finished = dump_finish(w, why, sizeof why);
    dump_writer_free(w);
    dup2(out, STDOUT_FILENO);
    close(out);
    close(full);
    assert_int_equal(code, 0);
    assert_int_equal(finished, ERR_IO);
    assert_string_equal(why, "cannot write standard output: No space left on device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_come_back, begin, end),
        cmocka_unit_test_setup_teardown(fields_keep_their_values, begin, end),
        cmocka_unit_test_setup_teardown(a_cut_file_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_flipped_bit_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(blocks_follow_each_other, begin, end),
        cmocka_unit_test_setup_teardown(a_version_to_come_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(wrong_records_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(values_have_bounds, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_told, begin, end),
        cmocka_unit_test_setup_teardown(a_file_is_whole_or_as_before, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
