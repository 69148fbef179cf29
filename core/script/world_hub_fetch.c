/* The hub's world: HTTP for scripts, on the fetcher's thread. */
#include "core/hub/shard/shard.h"
#include "core/script/api.h"
#include "core/script/fetcher.h"
#include "core/script/scripts_private.h"
#include "core/script/waiting.h"

/* On the shard that asked. */
static void fetched(void *owner, struct mail *m)
{
    struct fetch *x = (struct fetch *)m;
    (void)owner;
    waiting_answer(x->waiting, x->error[0] ? x->error : NULL, fetch_push, x);
    fetch_free(x);
}

int hub_world_fetch(struct world *world, struct waiting *w, const struct fetch_request *q)
{
    struct hub_world *h = (struct hub_world *)world;
    if (!h->host->fetcher)
        return ERR_CLOSED;
    struct fetch *x = fetch_new(q);
    if (!x)
        return ERR_NOMEM;
    x->mail.run = fetched;
    x->home = &h->shard->mailbox;
    x->waiting = w;
    int rc = fetcher_start(h->host->fetcher, x);
    if (rc != 0)
        fetch_free(x);
    return rc;
}
