#include "core/hub/act/provider.h"

#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/hub/act/admit.h"
#include "core/hub/act/login.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/req.h"
#include "core/hub/people/session.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shard.h"

#include <stdlib.h>
#include <string.h>

const struct auth_provider *provider_of(const struct shard *s)
{
    for (uint32_t i = 0; i < s->tables->auth_count; i++)
        if (strcmp(s->tables->auth[i].name, s->opt->auth_mode) == 0)
            return &s->tables->auth[i];
    return NULL;
}

/* What is wrong with who a provider says it is; NULL: nothing. */
static const char *bad_answer(const struct auth_answer *a)
{
    struct slice id = slice_of(a->id, a->id_len), name = slice_of(a->name, a->name_len);
    if (a->id_len > sizeof a->id || !value_user_id(id) || slice_eq(id, SLICE_LIT("system")))
        return "the provider's id: expected 1 to 64 of A-Z a-z 0-9 _ . : - and not \"system\"";
    if (a->name_len && (a->name_len > sizeof a->name || !value_name(name)))
        return "the provider's name: expected 1 to 64 bytes of text without control characters";
    return NULL;
}

/* Why a connection's login cannot be renewed by this answer; NULL: it can. */
static const char *bad_renewal(const struct login *l, const struct auth_answer *a)
{
    const struct shard *s = l->shard;
    const struct conn *k = conn_at(s->net, l->conn);
    uint64_t now = grant_expires_ms(s, l->conn);
    if (k->user == NONE || !slice_eq(user_id(user_at(s, k->user)), slice_of(a->id, a->id_len)))
        return "this connection has logged in already, as another user";
    if (!now || (a->expires_ms && a->expires_ms <= now))
        return "this connection has logged in already, and the token lasts no longer";
    return NULL;
}

/* Takes a provider's answer, with its claims. */
static void login_identify(struct login *l, const struct auth_answer *a)
{
    struct slice name = slice_of(a->name, a->name_len);
    const char *stays = l->renews && a->code == CODE_OK ? bad_renewal(l, a) : NULL;
    l->issued_ms = a->issued_ms;
    l->expires_ms = a->expires_ms;
    l->claims = a->claims;
    const char *wrong = a->code == CODE_OK ? bad_answer(a) : NULL;
    if (a->code != CODE_OK) {
        login_refuse(l, a->code, a->retry_after_ms, a->message);
    } else if (wrong) {
        log_event(LOG_WARN, "auth.bad_answer", LOG_STR("mode", l->shard->opt->auth_mode), LOG_STR("error", wrong));
        login_refuse(l, CODE_INTERNAL, 0, wrong);
    } else if (stays) {
        login_refuse(l, CODE_FORBIDDEN, 0, stays);
    } else if (a->name_len && value_name_reserved(name)) {
        login_refuse(l, CODE_FORBIDDEN, 0, "the name that the provider gives is the server's own, or looks like it");
    } else {
        l->id_len = a->id_len;
        memcpy(l->id, a->id, a->id_len);
        if (a->name_len) {
            l->name_len = a->name_len;
            memcpy(l->name, a->name, a->name_len);
        }
        login_admit(l);
    }
}

void provider_ask(struct login *l, struct slice token)
{
    struct shard *s = l->shard;
    char ip[64];
    conn_peer(s->net, l->conn, ip, sizeof ip);
    struct auth_call a = {.shard = s,
                          .ticket = {.shard = s->index, .conn = l->conn, .generation = l->generation},
                          .name = login_name(l),
                          .token = token,
                          .device = slice_of(l->device, l->device_len),
                          .ip = slice_str(ip),
                          .websocket = conn_at(s->net, l->conn)->transport == CONN_WEBSOCKET,
                          .secure = conn_is_secure(conn_at(s->net, l->conn))};
    struct session *x = session_get(s, l->conn);
    l->token = strndup(token.n ? token.p : "", token.n);
    if (!x || !l->token) {
        login_refuse(l, CODE_INTERNAL, 0, "out of memory");
        return;
    }
    x->login = l;
    l->asked = true;
    const struct auth_provider *p = provider_of(s);
    if (p->ask(&a, p->ctx) == AUTH_LATER)
        return;
    x->login = NULL;
    l->asked = false;
    login_identify(l, &a.answer);
}

static void auth_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct auth_mail *a = (struct auth_mail *)m;
    const struct conn *k = s->net ? conn_find(s->net, a->ticket.conn, a->ticket.generation) : NULL;
    struct session *x = k ? k->session : NULL;
    if (x && x->login && x->login->asked) {
        struct login *l = x->login;
        x->login = NULL;
        l->asked = false;
        login_identify(l, &a->answer);
    } else {
        free(a->answer.claims);
    }
    free(a);
}

int auth_send(struct hub *hub, struct auth_mail *a)
{
    if (a->ticket.shard >= hub->shard_count) {
        free(a->answer.claims);
        free(a);
        return ERR_INVALID;
    }
    a->mail.run = auth_arrive;
    mailbox_post(&hub->shards[a->ticket.shard]->mailbox, &a->mail);
    return 0;
}

int auth_finish(struct hub *hub, struct auth_ticket ticket, const struct auth_answer *answer)
{
    struct auth_mail *a = ticket.shard < hub->shard_count ? malloc(sizeof *a) : NULL;
    if (!a)
        return ERR_NOMEM;
    *a = (struct auth_mail){.ticket = ticket, .answer = *answer};
    return auth_send(hub, a);
}
