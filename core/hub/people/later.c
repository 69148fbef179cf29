#include "core/hub/people/later.h"

#include "core/base/utf8.h"
#include "core/hub/people/req.h"

#include <stdalign.h>
#include <stdio.h>

struct later {
    struct req r; /* first: the hub knows it by this */
    alignas(max_align_t) char own[];
};

static struct later *later_of(void *own)
{
    return (struct later *)((char *)own - offsetof(struct later, own));
}

void *later_begin(struct call *c, size_t size)
{
    struct later *l = req_begin(c, sizeof *l + size);
    return l ? l->own : NULL;
}

static void deliver(void *owner, struct mail *m)
{
    req_done(owner, (struct req *)m);
}

/* Home, from whatever thread this is. */
static void later_send(struct later *l)
{
    l->r.mail.run = deliver;
    mailbox_post(&l->r.home->mailbox, &l->r.mail);
}

void later_reply(void *own, struct slice body)
{
    struct later *l = later_of(own);
    buf_slice_put(&l->r.body, body);
    later_send(l);
}

void later_fail(void *own, enum code code, const char *message, uint32_t retry_after_ms)
{
    struct later *l = later_of(own);
    req_fail(&l->r, code, message);
    l->r.message[utf8_prefix(slice_str(l->r.message)).n] = '\0';
    l->r.retry_after_ms = retry_after_ms;
    later_send(l);
}
