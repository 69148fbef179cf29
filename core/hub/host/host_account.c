#include "core/hub/host/host_account.h"

#include "core/base/utf8.h"
#include "core/hub/host/host_op.h"
#include "core/hub/people/user.h"
#include "core/hub/people/user_news.h"
#include "core/hub/shard/op.h"

/* --- A user is made ----------------------------------------------------------------------------------------------- */

static void added(void *owner, struct store_op *op)
{
    struct host_user_add *q = OP_END(owner, op, struct host_user_add, save.op);
    if (op->status == STORE_DENIED)
        host_fail(&q->op, CODE_FORBIDDEN, "there is a user of that id already");
    else if (op->status != STORE_OK)
        host_fail_store(&q->op, op->status, "no such user");
    else
        user_news_tell(owner, USER_MADE, q->save.id, q->save.name);
    host_end(&q->op);
}

static const char *add_wrong(const struct host_user_add *q)
{
    if (!value_user_id(q->user))
        return "id: expected 1 to 64 of A-Z a-z 0-9 _ . : -";
    if (value_name_reserved(q->user))
        return "id: that is the server's own, or looks like it";
    if (q->name.n && !value_name(q->name))
        return "name: expected 1 to 64 bytes of text without control characters";
    if (value_name_reserved(q->name))
        return "name: that is the server's own, or looks like it";
    return NULL;
}

static void add_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_user_add *q = (struct host_user_add *)m;
    const char *wrong = add_wrong(q);
    if (wrong)
        host_fail(&q->op, CODE_BAD_REQUEST, wrong);
    uint32_t user = wrong ? NONE : user_find(s, q->user);
    if (user != NONE && user_at(s, user)->state != USER_READY) {
        host_park(s, &q->op);
        return;
    }
    if (user != NONE)
        host_fail(&q->op, CODE_FORBIDDEN, "there is a user of that id already");
    if (q->op.code != CODE_OK || host_stopping(s, &q->op)) {
        host_end(&q->op);
        return;
    }
    q->save = (struct store_user_save){.id = q->user, .name = q->name.n ? q->name : q->user, .create = true};
    op_begin(s, &q->save.op, added);
    store_user_save(s->store, &q->save);
}

void host_user_add(struct hub *hub, struct host_user_add *q)
{
    host_begin(shard_of(hub, q->user), &q->op, add_run);
}

/* --- A token ------------------------------------------------------------------------------------------------------ */

static void token_put(struct shard *s, struct host_user_token *q, uint32_t epoch)
{
    token_make(q->token, &s->token_key, q->user, epoch, store_time_ms(s->store));
}

static void token_loaded(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct host_user_token *q = OP_END(owner, op, struct host_user_token, load.op);
    if (op->status == STORE_OK)
        token_put(s, q, q->load.user.epoch);
    else
        host_fail_store(&q->op, op->status, "no such user");
    store_user_load_free(&q->load);
    host_end(&q->op);
}

static void token_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_user_token *q = (struct host_user_token *)m;
    q->token[0] = '\0';
    if (strcmp(s->opt->auth_mode, "open") != 0)
        host_fail(&q->op, CODE_FORBIDDEN, "auth.mode is not \"open\": tokens come from elsewhere");
    else if (!value_user_id(q->user))
        host_fail(&q->op, CODE_NOT_FOUND, "no such user");
    if (q->op.code != CODE_OK || host_stopping(s, &q->op)) {
        host_end(&q->op);
        return;
    }
    uint32_t user = user_find(s, q->user);
    if (user != NONE && user_at(s, user)->state != USER_READY) {
        host_park(s, &q->op);
        return;
    }
    if (user != NONE) { /* its epoch may be ahead of the stored one */
        token_put(s, q, user_at(s, user)->epoch);
        host_end(&q->op);
        return;
    }
    q->load = (struct store_user_load){.id = q->user};
    op_begin(s, &q->load.op, token_loaded);
    store_user_load(s->store, &q->load);
}

void host_user_token(struct hub *hub, struct host_user_token *q)
{
    host_begin(shard_of(hub, q->user), &q->op, token_run);
}
