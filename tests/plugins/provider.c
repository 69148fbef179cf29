/* ABI area: authentication. The token says what to do: "now:ID", "later:ID" (from a worker thread), "bad" (an id that
 * no user can have), anything else is refused. */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
} provider;

struct waiting {
    struct mp_ticket ticket;
    struct mp_auth_answer answer;
};

static void run(void *ctx)
{
    struct waiting *w = ctx;
    provider.mp->auth_finish(provider.self, w->ticket, &w->answer);
}

static void done(mp_thread *here, void *ctx)
{
    (void)here;
    free(ctx);
}

static enum mp_when ask(const struct mp_login *l, struct mp_auth_answer *a, void *ctx)
{
    char token[80];
    (void)ctx;
    snprintf(token, sizeof token, "%.*s", (int)l->token.n, l->token.p ? l->token.p : "");
    a->code = MP_CODE_OK;
    if (strcmp(token, "bad") == 0) {
        snprintf(a->id, sizeof a->id, "no user");
    } else if (strncmp(token, "now:", 4) == 0) {
        snprintf(a->id, sizeof a->id, "%.64s", token + 4);
    } else if (strncmp(token, "later:", 6) == 0) {
        struct waiting *w = calloc(1, sizeof *w);
        if (w) {
            w->ticket = l->ticket;
            w->answer = *a;
            snprintf(w->answer.id, sizeof w->answer.id, "%.64s", token + 6);
            snprintf(w->answer.name, sizeof w->answer.name, "Later");
            if (provider.mp->work(provider.self, run, l->shard, done, w) == MP_OK)
                return MP_LATER;
        }
        free(w);
        a->code = MP_CODE_UNAVAILABLE;
    } else {
        a->code = MP_CODE_UNAUTHORIZED;
        snprintf(a->message, sizeof a->message, "say now:ID or later:ID");
    }
    return MP_NOW;
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    (void)o, (void)state;
    provider.self = self;
    provider.mp = mp;
    return mp->auth(self, ask, NULL);
}

MP_PLUGIN = {MP_PLUGIN_HEAD,      .name = "provider", .version = "1", .summary = "test: authentication",
             .auth_mode = "test", .init = init};
