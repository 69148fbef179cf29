/*
 * auth_jwt: the provider of auth.mode = "jwt". A login's token is a JSON Web Token (RFC 7519) of somebody else's
 * making; this server only checks it.
 *
 * Signatures with public keys cost a shard too much of its time when ten thousand clients come back at once, so they
 * are checked on worker threads; an HMAC is checked at once.
 */
#include "plugins/magpie_plugin.h"
#include "policy.h"
#include "verify.h"

#include <stdlib.h>

enum { LOOK_MS = 5000 }; /* how often the key files are looked at */

struct auth {
    mp_self *self;
    const struct mp_api *mp;
    mp_current *policy;          /* struct policy */
    struct stamp seen[KEYS_MAX]; /* of the key files, when they were looked at last; main thread */
    int accepted, refused;       /* metrics */
};

static const struct mp_option options[] = {
    {.name = "algorithm",
     .type = MP_OPT_ENUM,
     .flags = MP_OPT_F_REQUIRED,
     .choices = (const char *const[]){"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
                                      "EdDSA", NULL},
     .help = "The one algorithm that is taken, whatever a token's header says."},
    {.name = "key_files",
     .type = MP_OPT_TEXTS,
     .help = "Plain files with a key each: a public key in PEM, or for HS… a secret (a line end behind it and a byte "
             "order mark do not count where it is text). Any of them may have signed a token, so that keys can be "
             "changed in turn."},
    {.name = "secret",
     .type = MP_OPT_TEXT,
     .flags = MP_OPT_F_SECRET,
     .help = "For HS…: a secret, beside those of key_files."},
    {.name = "issuer", .type = MP_OPT_TEXT, .help = "What `iss` must be; absent: anything."},
    {.name = "audience", .type = MP_OPT_TEXT, .help = "What `aud` must be, or must hold; absent: anything."},
    {.name = "id_claim",
     .type = MP_OPT_TEXT,
     .fallback = "sub",
     .help = "The claim that is the user's id: a text, or (but for sub) a whole number."},
    {.name = "name_claim", .type = MP_OPT_TEXT, .fallback = "name", .help = "The claim that is the user's name."},
    {.name = "claims",
     .type = MP_OPT_TEXTS,
     .help = "Claims that scripts and other plugins are told of the user; 32 at most."},
    {.name = "leeway",
     .type = MP_OPT_SECONDS,
     .min = 0,
     .max = 600,
     .fallback = "30",
     .help = "How far the clocks may differ."},
    {.name = "require_expiry", .type = MP_OPT_BOOL, .fallback = "true", .help = "A token without `exp` is refused."},
};

/* --- The policy --------------------------------------------------------------------------------------------------- */

static struct policy *policy_in_force(const struct auth *a)
{
    return a->mp->current_get(a->policy, a->mp->main_thread(a->self));
}

static void commit(struct auth *a)
{
    a->mp->current_commit(a->policy);
    memcpy(a->seen, policy_in_force(a)->stamps, sizeof a->seen);
}

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    struct auth *a = state;
    struct policy *p = policy_new(mp, o, why, why_size);
    if (!p)
        return MP_EINVALID;
    if (!a) {
        policy_free(p);
        return MP_OK;
    }
    snprintf(why, why_size, "out of memory");
    return mp->current_prepare(a->policy, p);
}

static void apply(void *state, const mp_options *o)
{
    (void)o;
    commit(state); /* what check() prepared */
}

/* Whoever changes a key file need not tell the server. A file that is just being written is found wrong now and right
 * the next time. */
static void look(mp_thread *here, void *ctx)
{
    struct auth *a = ctx;
    char why[400] = "out of memory";
    (void)here;
    if (!policy_changed(policy_in_force(a), a->seen))
        return;
    struct policy *p = policy_again(policy_in_force(a), why, sizeof why);
    struct mp_field keys = mp_field_int("keys", p ? p->keys.count : 0);
    if (!p || a->mp->current_prepare(a->policy, p) != MP_OK) {
        struct mp_field error = mp_field_text("error", mp_str(why));
        a->mp->log(a->self, MP_ERROR, "kept", &error, 1);
        return;
    }
    commit(a);
    a->mp->log(a->self, MP_INFO, "keys_reloaded", &keys, 1);
}

/* --- A login ------------------------------------------------------------------------------------------------------ */

struct job {
    struct auth *auth;
    mp_held *policy; /* to be released */
    struct mp_ticket ticket;
    struct mp_auth_answer answer;
    struct verify_time now;
    size_t n;    /* bytes of the token */
    char text[]; /* the token, and as much room again */
};

static void count(struct auth *a, mp_thread *shard, const struct mp_auth_answer *answer)
{
    a->mp->count(a->self, shard, answer->code == MP_CODE_OK ? a->accepted : a->refused, 1);
}

static void job_run(void *ctx)
{
    struct job *j = ctx;
    verify(j->auth->mp->held_value(j->policy), j->text, j->n, j->text + j->n, j->now, &j->answer);
}

static void job_free(struct job *j)
{
    if (j->policy)
        j->auth->mp->held_release(j->policy);
    explicit_bzero(j->text, 2 * j->n);
    free(j);
}

static enum mp_when refuse_now(struct mp_auth_answer *answer, enum mp_code code, const char *message)
{
    answer->code = code;
    snprintf(answer->message, sizeof answer->message, "%s", message);
    return MP_NOW;
}

static void job_done(mp_thread *here, void *ctx);

/* Whether the keys changed while the token was checked, and it is now being checked by those in force: a key that was
 * taken out opens nothing after the reload that says OK. */
static bool job_again(struct job *j, mp_thread *here)
{
    const struct mp_api *mp = j->auth->mp;
    if (mp->held_in_force(j->policy))
        return false;
    mp->held_release(j->policy);
    j->policy = mp->current_hold(j->auth->policy, here);
    j->answer = (struct mp_auth_answer){.size = sizeof j->answer};
    if (j->policy && mp->work(j->auth->self, job_run, here, job_done, j) == MP_OK)
        return true;
    refuse_now(&j->answer, MP_CODE_UNAVAILABLE, "the server cannot check tokens now");
    return false;
}

static void job_done(mp_thread *here, void *ctx)
{
    struct job *j = ctx;
    struct auth *a = j->auth;
    if (job_again(j, here))
        return;
    count(a, here, &j->answer);
    /* Without memory the login runs into its timeout; there is nothing better to do. */
    (void)!a->mp->auth_finish(a->self, j->ticket, &j->answer);
    job_free(j);
}

/* NULL: out of memory. */
static struct job *job_new(struct auth *a, const struct mp_login *l, const struct mp_auth_answer *answer)
{
    mp_held *policy = a->mp->current_hold(a->policy, l->shard);
    struct job *j = policy ? malloc(sizeof *j + 2 * l->token.n) : NULL;
    if (j) {
        *j = (struct job){
            .auth = a,
            .policy = policy,
            .ticket = l->ticket,
            .answer = *answer,
            .now = {.date = (double)a->mp->date_ms(a->self) / 1000.0, .wall = (double)a->mp->wall_ms() / 1000.0},
            .n = l->token.n};
        memcpy(j->text, l->token.p, l->token.n);
    } else if (policy) {
        a->mp->held_release(policy);
    }
    return j;
}

static enum mp_when ask(const struct mp_login *l, struct mp_auth_answer *answer, void *ctx)
{
    struct auth *a = ctx;
    if (l->token.n == 0 || l->token.n > TOKEN_MAX) {
        a->mp->count(a->self, l->shard, a->refused, 1);
        return refuse_now(answer, MP_CODE_UNAUTHORIZED,
                          l->token.n ? "token: longer than 8192 bytes" : "token: missing");
    }
    struct job *j = job_new(a, l, answer);
    if (!j)
        return refuse_now(answer, MP_CODE_UNAVAILABLE, "out of memory");
    const struct policy *p = a->mp->held_value(j->policy);
    if (algorithm_is_hmac(p->keys.algorithm)) {
        job_run(j);
        *answer = j->answer;
        count(a, l->shard, answer);
    } else if (a->mp->work(a->self, job_run, l->shard, job_done, j) == MP_OK) {
        return MP_LATER;
    } else {
        refuse_now(answer, MP_CODE_UNAVAILABLE, "the server cannot check tokens now");
    }
    job_free(j);
    return MP_NOW;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static void fini(void *state)
{
    free(state);
}

static int register_all(struct auth *a)
{
    const struct mp_api *mp = a->mp;
    const struct mp_metric accepted = {.size = sizeof accepted,
                                       .name = "magpie_auth_jwt_accepted_total",
                                       .help = "Logins whose token was good.",
                                       .kind = MP_COUNTER},
                           refused = {.size = sizeof refused,
                                      .name = "magpie_auth_jwt_refused_total",
                                      .help = "Logins whose token was not.",
                                      .kind = MP_COUNTER};
    int rc = a->accepted = mp->metric(a->self, &accepted);
    if (rc >= 0)
        rc = a->refused = mp->metric(a->self, &refused);
    if (rc >= 0)
        rc = mp->timer(a->self, mp->main_thread(a->self), LOOK_MS, LOOK_MS, look, a, NULL);
    return rc < 0 ? rc : mp->auth(a->self, ask, a);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    char why[400] = "out of memory";
    struct auth *a = calloc(1, sizeof *a);
    if (!a)
        return MP_ENOMEM;
    a->self = self;
    a->mp = mp;
    a->policy = mp->current_new(self, policy_free);
    struct policy *p = a->policy ? policy_new(mp, o, why, sizeof why) : NULL;
    int rc = !a->policy ? MP_ENOMEM : p ? mp->current_prepare(a->policy, p) : MP_EINVALID;
    if (rc == MP_OK) {
        commit(a);
        rc = register_all(a);
    } else {
        struct mp_field field = mp_field_text("error", mp_str(why));
        mp->log(self, MP_ERROR, "failed", &field, 1);
    }
    if (rc < 0) {
        fini(a);
        return rc;
    }
    *state = a;
    return MP_OK;
}

MP_PLUGIN = {MP_PLUGIN_HEAD,
             MP_OPTIONS(options),
             .name = "auth_jwt",
             .version = "1.1",
             .summary = "Logins by JSON Web Token",
             .auth_mode = "jwt",
             .check = check,
             .init = init,
             .apply = apply,
             .fini = fini};
