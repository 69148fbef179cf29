/*
 * Exports: the records of a block, then a file that has them as its only block with the right sums. What a reader takes
 * the encoder writes again to the byte, slices lie inside, and a file is good only if the counts at its end are right.
 */
#include "core/base/buf.h"
#include "core/base/hash.h"
#include "storage/conv_key.h"
#include "storage/dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void conv_must(struct slice key)
{
    struct slice lo, hi;
    must(key.n >= 2 && key.n <= CONV_KEY_MAX);
    conv_pair_users(key, &lo, &hi);
    must(conv_is_channel(key) || (lo.n && lo.n <= 64 && hi.n && hi.n <= 64));
}

/* What engines go by without looking again. */
static void record_must(const struct dump_record *r)
{
    if (r->kind == DUMP_CONV)
        conv_must(r->conv.key);
    else if (r->kind == DUMP_MEMBER)
        conv_must(r->member.conv);
    else if (r->kind == DUMP_PAIR)
        conv_must(r->pair.conv);
    else if (r->kind == DUMP_INBOX)
        conv_must(r->inbox.conv);
    else if (r->kind == DUMP_DEDUP)
        conv_must(r->dedup.conv);
    else if (r->kind == DUMP_MESSAGE)
        must(r->message.tier < 3 && r->message.sender.n >= 1 && r->message.sender.n <= 64 && r->message.name.n <= 255);
}

/* Returns how many records stand at the beginning. */
static unsigned records(struct slice all)
{
    struct slice left = all;
    struct buf out = BUF_INIT;
    struct dump_record r;
    unsigned n = 0;
    while (left.n && dump_decode(&left, &r) == 0) {
        must(left.p >= all.p && left.p + left.n == all.p + all.n);
        must(r.kind >= DUMP_STORE && r.kind <= DUMP_END);
        record_must(&r);
        must(dump_encode(&out, &r) == 0);
        n++;
    }
    must(out.n == all.n - left.n && (out.n == 0 || memcmp(out.p, all.p, out.n) == 0));
    buf_free(&out);
    return n;
}

/* The file's descriptor. */
static int file_of(struct slice block)
{
    struct buf b = BUF_INIT;
    char head[12] = "\x89Magpie\n", number[8];
    int fd = memfd_create("export", 0);
    must(fd >= 0);
    store_be16(head + 8, DUMP_VERSION);
    store_be64(number, hash_stable(slice_of(head, sizeof head)));
    buf_put(&b, number, sizeof number);
    buf_u32(&b, (uint32_t)block.n);
    buf_slice_put(&b, block);
    store_be64(number, hash_stable(buf_slice(&b)));
    buf_put(&b, number, sizeof number);
    must(write(fd, head, sizeof head) == (ssize_t)sizeof head);
    must(write(fd, b.p + 8, b.n - 8) == (ssize_t)b.n - 8);
    buf_free(&b);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1), path[32], why[DUMP_WHY_MAX];
    memcpy(copy, data, size); /* memory of its own: so that reading beyond its end is seen */
    unsigned n = records(slice_of(copy, size)), read = 0;
    struct dump_reader *in;
    struct dump_record r;
    int fd = file_of(slice_of(copy, size)), code;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    must(dump_open(&in, path, why, sizeof why) == 0);
    while ((code = dump_next(in, &r)) == 1)
        read++;
    must(code == 0 ? read + 1 == n && !dump_error(in)[0] : code == ERR_INVALID && read <= n && dump_error(in)[0]);
    dump_reader_free(in);
    close(fd);
    free(copy);
    return 0;
}
