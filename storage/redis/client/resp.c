#include "storage/redis/client/resp.h"

#include <hiredis/read.h>
#include <stdlib.h>

/* --- Memory of replies -------------------------------------------------------------------------------------------- */

enum { CHUNK_SIZE = 32768 };

struct resp_chunk {
    struct resp_chunk *next;
    size_t size, used; /* of bytes */
    char bytes[] __attribute__((aligned(16)));
};

/* n bytes that live until resp_forget(); NULL when out of memory. */
static void *resp_make(struct resp *in, size_t n)
{
    struct resp_chunk *c = in->chunks;
    n = (n + 15) & ~(size_t)15;
    if (n > in->most - in->made)
        return NULL;
    in->made += n;
    if (!c || c->size - c->used < n) {
        size_t size = n > CHUNK_SIZE ? n : CHUNK_SIZE;
        c = malloc(sizeof *c + size);
        if (!c)
            return NULL;
        *c = (struct resp_chunk){.next = in->chunks, .size = size};
        in->chunks = c;
    }
    void *p = c->bytes + c->used;
    c->used += n;
    return p;
}

void resp_forget(struct resp *in)
{
    while (in->chunks && (in->chunks->next || in->chunks->size > CHUNK_SIZE)) {
        struct resp_chunk *c = in->chunks;
        in->chunks = c->next;
        free(c);
    }
    if (in->chunks) /* the last one is kept: mostly it is enough */
        in->chunks->used = 0;
}

/* --- What hiredis's reader calls --- */

/* The reply that is being made: an element of its list, or one of its own. */
static struct reply *reply_new(const redisReadTask *task, enum reply_type type)
{
    struct reply *r;
    if (task->parent)
        r = &((struct reply *)task->parent->obj)->list[task->idx];
    else if (!(r = resp_make(task->privdata, sizeof *r)))
        return NULL;
    *r = (struct reply){.type = type};
    return r;
}

static void *make_string(const redisReadTask *task, char *p, size_t n)
{
    enum reply_type type = task->type == REDIS_REPLY_ERROR    ? REPLY_ERROR
                           : task->type == REDIS_REPLY_STATUS ? REPLY_STATUS
                                                              : REPLY_STRING;
    struct reply *r = reply_new(task, type);
    char *copy = r ? resp_make(task->privdata, n) : NULL;
    if (!copy)
        return NULL;
    memcpy(copy, p, n);
    r->text = slice_of(copy, n);
    return r;
}

static void *make_list(const redisReadTask *task, int n)
{
    struct reply *r = n <= RESP_LIST_MAX ? reply_new(task, REPLY_LIST) : NULL;
    if (!r || !(r->list = resp_make(task->privdata, (size_t)n * sizeof *r->list)))
        return NULL;
    memset(r->list, 0, (size_t)n * sizeof *r->list);
    r->n = (uint32_t)n;
    return r;
}

static void *make_number(const redisReadTask *task, long long number)
{
    struct reply *r = reply_new(task, REPLY_NUMBER);
    if (r)
        r->number = number;
    return r;
}

static void *make_nil(const redisReadTask *task)
{
    return reply_new(task, REPLY_NIL);
}

static void make_nothing(void *reply)
{
    (void)reply; /* its memory is the reader's */
}

static redisReplyObjectFunctions makers = {make_string, make_list, make_number, make_nil, make_nothing};

/* --- The reader --------------------------------------------------------------------------------------------------- */

int resp_init(struct resp *in)
{
    *in = (struct resp){.reader = redisReaderCreateWithFunctions(&makers), .most = RESP_REPLY};
    if (!in->reader)
        return ERR_NOMEM;
    in->reader->privdata = in;
    in->reader->maxbuf = RESP_KEEP;
    return 0;
}

void resp_fini(struct resp *in)
{
    if (in->reader)
        redisReaderFree(in->reader);
    while (in->chunks) {
        struct resp_chunk *c = in->chunks;
        in->chunks = c->next;
        free(c);
    }
    in->reader = NULL;
}

int resp_feed(struct resp *in, const char *p, size_t n)
{
    if (in->reader->len - in->reader->pos + n > RESP_MAX)
        return ERR_TOOLARGE;
    return redisReaderFeed(in->reader, p, n) == REDIS_OK ? 0 : ERR_NOMEM;
}

int resp_next(struct resp *in, const struct reply **out)
{
    void *reply = NULL;
    if (redisReaderGetReply(in->reader, &reply) != REDIS_OK)
        return in->reader->err == REDIS_ERR_OOM ? ERR_NOMEM : ERR_INVALID;
    *out = reply;
    if (reply)
        in->made = 0;
    return reply != NULL;
}

/* --- Commands ----------------------------------------------------------------------------------------------------- */

/* A line of a letter and a number. */
static void put_length(struct buf *b, char letter, uint64_t n)
{
    char digits[24], *end = digits + sizeof digits, *p = end;
    *--p = '\n';
    *--p = '\r';
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    *--p = letter;
    buf_put(b, p, (size_t)(end - p));
}

void resp_put(struct buf *b, struct slice s)
{
    put_length(b, '$', s.n);
    buf_slice_put(b, s);
    buf_lit(b, "\r\n");
}

void resp_put_u64(struct buf *b, uint64_t v)
{
    char digits[20], *end = digits + sizeof digits, *p = end;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    resp_put(b, slice_of(p, (size_t)(end - p)));
}

void resp_open(struct buf *b, unsigned n)
{
    put_length(b, '*', n);
}

void resp_bulk(struct buf *b, size_t n)
{
    put_length(b, '$', n);
}

void resp_command(struct buf *b, const struct slice *argv, unsigned n)
{
    resp_open(b, n);
    for (unsigned i = 0; i < n; i++)
        resp_put(b, argv[i]);
}
