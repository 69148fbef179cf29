#include "core/hub/host/host_op.h"

#include <stdio.h>

static void arrive_home(void *owner, struct mail *m)
{
    struct host_op *op = (struct host_op *)m;
    op->done(owner, op);
}

void host_begin(struct shard *to, struct host_op *op, void (*run)(void *owner, struct mail *m))
{
    op->code = CODE_OK;
    op->retry_after_ms = 0;
    op->message[0] = '\0';
    op->silent.n = 0;
    op->mail.run = run;
    mailbox_post(&to->mailbox, &op->mail);
}

void host_fail(struct host_op *op, enum code code, const char *message)
{
    op->code = code;
    snprintf(op->message, sizeof op->message, "%s", message);
}

/* "2", "2 and 3", "2, 3, 4, 5 and 7 more". */
static void put_numbers(char *out, size_t size, const struct silent_nodes *silent)
{
    unsigned n = silent->n, named = n < SILENT_NAMED ? n : SILENT_NAMED;
    size_t at = 0;
    for (unsigned i = 0; i < named && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%u", !i ? "" : i == n - 1 ? " and " : ", ", silent->numbers[i]);
    if (n > named && at < size)
        (void)snprintf(out + at, size - at, " and %u more", n - named);
}

void host_fail_silent(struct host_op *op, const struct silent_nodes *silent, const char *before, const char *what)
{
    char numbers[48];
    bool one = silent->n == 1;
    put_numbers(numbers, sizeof numbers, silent);
    op->silent = *silent;
    op->code = CODE_UNAVAILABLE;
    snprintf(op->message, sizeof op->message, "%snode%s %s %s not said %s: repeat it", before, one ? "" : "s", numbers,
             one ? "has" : "have", what);
}

void host_fail_store(struct host_op *op, enum store_status status, const char *what)
{
    if (status == STORE_NOTFOUND)
        host_fail(op, CODE_NOT_FOUND, what);
    else if (status == STORE_FATAL)
        host_fail(op, CODE_INTERNAL, "the store failed");
    else
        host_fail(op, CODE_UNAVAILABLE, "the store cannot do that now");
}

void host_end(struct host_op *op)
{
    op->mail.run = arrive_home;
    mailbox_post(op->home, &op->mail);
}

void host_park(struct shard *s, struct host_op *op)
{
    struct mail **at = &s->parked;
    while (*at)
        at = &(*at)->next;
    op->mail.next = NULL;
    *at = &op->mail;
}

void host_unpark(struct shard *s)
{
    struct mail *m = s->parked;
    s->parked = NULL;
    while (m) {
        struct mail *next = m->next;
        mailbox_post(&s->mailbox, m);
        m = next;
    }
}

bool host_stopping(const struct shard *s, struct host_op *op)
{
    if (s->net)
        return false;
    host_fail(op, CODE_UNAVAILABLE, "the server is stopping");
    return true;
}
