/*
 * auth_jwt: the provider of auth.mode = "jwt". A login's token is a JSON Web Token (RFC 7519) of somebody else's
 * making; this server only checks it.
 *
 * Signatures with public keys cost a shard too much of its time when ten thousand clients come back at once, so they
 * are checked on worker threads; an HMAC is checked at once.
 */
#include "plugins/magpie_plugin.h"
#include "verify.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { LOOK_MS = 5000 }; /* how often the key files are looked at */

/* When a key file was written last: one that is replaced is noticed. */
struct stamp {
    struct timespec changed;
    ino_t inode;
    off_t size;
};

struct auth {
    mp_self *self;
    const struct mp_api *mp;
    struct policy *policy; /* newest; main thread; a reference */
    char *secret;          /* main thread, like what follows; owned */
    char *files[KEYS_MAX]; /* owned; NULL at the end */
    struct stamp stamps[KEYS_MAX];
    int accepted, refused; /* metrics */
};

/* A shard's own. */
struct local {
    struct policy *policy; /* in force here; a reference */
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
     .help = "Files with a key each: a public key in PEM, or for HS… the secret's bytes. Any of them may have signed a "
             "token, "
             "so that keys can be changed in turn."},
    {.name = "secret",
     .type = MP_OPT_TEXT,
     .flags = MP_OPT_F_SECRET,
     .help = "For HS…: a secret, beside those of key_files."},
    {.name = "issuer", .type = MP_OPT_TEXT, .help = "What `iss` must be; absent: anything."},
    {.name = "audience", .type = MP_OPT_TEXT, .help = "What `aud` must be, or must hold; absent: anything."},
    {.name = "id_claim", .type = MP_OPT_TEXT, .fallback = "sub", .help = "The claim that is the user's id."},
    {.name = "name_claim", .type = MP_OPT_TEXT, .fallback = "name", .help = "The claim that is the user's name."},
    {.name = "leeway",
     .type = MP_OPT_SECONDS,
     .min = 0,
     .max = 600,
     .fallback = "30",
     .help = "How far the clocks may differ."},
    {.name = "require_expiry", .type = MP_OPT_BOOL, .fallback = "true", .help = "A token without `exp` is refused."},
};

/* --- The policy --------------------------------------------------------------------------------------------------- */

static char *copy_text(const struct mp_api *mp, const mp_options *o, const char *name, bool *ok)
{
    const char *text = mp->option_text(o, name);
    char *copy = text ? strdup(text) : NULL;
    *ok = *ok && (!text || copy);
    return copy;
}

static int add_keys(struct policy *p, const char *secret, char *const *files, char *why, size_t why_size)
{
    if (secret && !alg_is_hmac(p->keys.alg)) {
        snprintf(why, why_size, "secret: only for HS256, HS384 and HS512; a public key belongs into key_files");
        return MP_EINVALID;
    }
    if (secret && keys_add(&p->keys, "secret", secret, strlen(secret), why, why_size) != 0)
        return MP_EINVALID;
    for (unsigned i = 0; i < KEYS_MAX && files[i]; i++)
        if (keys_add_file(&p->keys, files[i], why, why_size) != 0)
            return MP_EINVALID;
    if (p->keys.count)
        return MP_OK;
    snprintf(why, why_size, "key_files: no key; give key_files%s", alg_is_hmac(p->keys.alg) ? ", or secret" : "");
    return MP_EINVALID;
}

static struct policy *policy_new(const struct mp_api *mp, const mp_options *o, char *const *files, char *why,
                                 size_t why_size)
{
    struct policy *p = calloc(1, sizeof *p);
    bool ok = p != NULL;
    snprintf(why, why_size, "out of memory");
    if (!ok)
        return NULL;
    atomic_init(&p->users, 1);
    p->keys.alg = jwt_str_alg(mp->option_text(o, "algorithm"));
    p->issuer = copy_text(mp, o, "issuer", &ok);
    p->audience = copy_text(mp, o, "audience", &ok);
    p->id_claim = copy_text(mp, o, "id_claim", &ok);
    p->name_claim = copy_text(mp, o, "name_claim", &ok);
    p->leeway = mp->option_number(o, "leeway");
    p->require_expiry = mp->option_bool(o, "require_expiry");
    if (ok && p->keys.alg == JWT_ALG_INVAL) {
        snprintf(why, why_size, "algorithm: the libjwt that is installed does not have %s",
                 mp->option_text(o, "algorithm"));
        ok = false;
    }
    if (ok && add_keys(p, mp->option_text(o, "secret"), files, why, why_size) == MP_OK)
        return p;
    policy_drop(p);
    return NULL;
}

static void free_files(char **files)
{
    for (unsigned i = 0; i < KEYS_MAX; i++) {
        free(files[i]);
        files[i] = NULL;
    }
}

/* files: KEYS_MAX places. 0, or negative with a sentence. */
static int copy_files(const struct mp_api *mp, const mp_options *o, char **files, char *why, size_t why_size)
{
    const char *text;
    memset(files, 0, KEYS_MAX * sizeof *files);
    for (unsigned i = 0; (text = mp->option_item(o, "key_files", i)); i++) {
        if (i == KEYS_MAX) {
            snprintf(why, why_size, "key_files: %d at most", KEYS_MAX);
            free_files(files);
            return MP_EINVALID;
        }
        if (!(files[i] = strdup(text))) {
            snprintf(why, why_size, "out of memory");
            free_files(files);
            return MP_ENOMEM;
        }
    }
    return MP_OK;
}

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    char *files[KEYS_MAX];
    (void)state;
    int rc = copy_files(mp, o, files, why, why_size);
    struct policy *p = rc == MP_OK ? policy_new(mp, o, files, why, why_size) : NULL;
    free_files(files);
    bool good = p != NULL;
    policy_drop(p);
    return good ? MP_OK : MP_EINVALID;
}

/* --- Into force --------------------------------------------------------------------------------------------------- */

struct change {
    struct auth *auth;
    struct policy *policy; /* a reference, which the shard takes over */
};

static void take_policy(mp_thread *here, void *ctx)
{
    struct change *c = ctx;
    struct local *l = c->auth->mp->local(c->auth->self, here);
    policy_drop(l->policy);
    l->policy = c->policy;
    free(c);
}

/* Takes over the caller's reference. */
static void spread(struct auth *a, struct policy *p)
{
    for (unsigned i = 0; i < a->mp->shard_count(a->self); i++) {
        struct change *c = malloc(sizeof *c);
        if (c) {
            *c = (struct change){a, p};
            atomic_fetch_add(&p->users, 1);
            if (a->mp->post(a->self, a->mp->shard(a->self, i), take_policy, c) == MP_OK)
                continue;
            atomic_fetch_sub(&p->users, 1);
        }
        free(c);
        a->mp->log(a->self, MP_ERROR, "out_of_memory", NULL, 0);
    }
    policy_drop(a->policy);
    a->policy = p;
}

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct stamp){.size = -1};
    return (struct stamp){.changed = st.st_mtim, .inode = st.st_ino, .size = st.st_size};
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec && a->inode == b->inode &&
           a->size == b->size;
}

static void log_kept(struct auth *a, const char *why)
{
    struct mp_field field = mp_field_text("error", mp_str(why));
    a->mp->log(a->self, MP_ERROR, "kept", &field, 1);
}

static void apply(void *state, const mp_options *o)
{
    struct auth *a = state;
    char why[400], *files[KEYS_MAX];
    struct policy *p =
        copy_files(a->mp, o, files, why, sizeof why) == MP_OK ? policy_new(a->mp, o, files, why, sizeof why) : NULL;
    if (!p) {
        /* A file has changed since check(): what was in force stays. */
        log_kept(a, why);
        free_files(files);
        return;
    }
    const char *secret = a->mp->option_text(o, "secret");
    free_files(a->files);
    memcpy(a->files, files, sizeof files);
    for (unsigned i = 0; i < KEYS_MAX && a->files[i]; i++)
        a->stamps[i] = stamp_of(a->files[i]);
    if (a->secret)
        explicit_bzero(a->secret, strlen(a->secret));
    free(a->secret);
    a->secret = secret ? strdup(secret) : NULL;
    spread(a, p);
}

static char *copy_of(const char *text, bool *ok)
{
    char *copy = text ? strdup(text) : NULL;
    *ok = *ok && (!text || copy);
    return copy;
}

/* The same policy with the keys read anew; NULL with a sentence. */
static struct policy *policy_again(const struct auth *a, char *why, size_t why_size)
{
    const struct policy *before = a->policy;
    struct policy *p = calloc(1, sizeof *p);
    bool ok = p != NULL;
    snprintf(why, why_size, "out of memory");
    if (!ok)
        return NULL;
    atomic_init(&p->users, 1);
    p->keys.alg = before->keys.alg;
    p->issuer = copy_of(before->issuer, &ok);
    p->audience = copy_of(before->audience, &ok);
    p->id_claim = copy_of(before->id_claim, &ok);
    p->name_claim = copy_of(before->name_claim, &ok);
    p->leeway = before->leeway;
    p->require_expiry = before->require_expiry;
    if (ok && add_keys(p, a->secret, a->files, why, why_size) == MP_OK)
        return p;
    policy_drop(p);
    return NULL;
}

/* Whoever changes a key file need not tell the server. A file that is just being written is found wrong now and right
 * the next time. */
static void look(mp_thread *here, void *ctx)
{
    struct auth *a = ctx;
    struct stamp now[KEYS_MAX];
    bool changed = false;
    char why[400];
    (void)here;
    for (unsigned i = 0; i < KEYS_MAX && a->files[i]; i++) {
        now[i] = stamp_of(a->files[i]);
        changed = changed || !same_stamp(&now[i], &a->stamps[i]);
    }
    if (!changed)
        return;
    memcpy(a->stamps, now, sizeof now);
    struct policy *p = policy_again(a, why, sizeof why);
    if (!p) {
        log_kept(a, why);
        return;
    }
    struct mp_field field = mp_field_int("keys", p->keys.count);
    a->mp->log(a->self, MP_INFO, "keys_reloaded", &field, 1);
    spread(a, p);
}

/* --- A login ------------------------------------------------------------------------------------------------------ */

struct job {
    struct auth *auth;
    struct policy *policy; /* a reference */
    struct mp_ticket ticket;
    struct mp_auth_answer answer;
    double now;
    char token[];
};

static void job_run(void *ctx)
{
    struct job *j = ctx;
    verify(j->policy, j->auth->mp, j->token, j->now, &j->answer);
}

static void count(struct auth *a, mp_thread *shard, const struct mp_auth_answer *answer)
{
    a->mp->count(a->self, shard, answer->code == MP_CODE_OK ? a->accepted : a->refused, 1);
}

static void job_done(mp_thread *here, void *ctx)
{
    struct job *j = ctx;
    struct auth *a = j->auth;
    count(a, here, &j->answer);
    /* Without memory the login runs into its timeout; there is nothing better to do. */
    (void)!a->mp->auth_finish(a->self, j->ticket, &j->answer);
    policy_drop(j->policy);
    explicit_bzero(j->token, strlen(j->token));
    free(j);
}

static enum mp_when ask(const struct mp_login *l, struct mp_auth_answer *answer, void *ctx)
{
    struct auth *a = ctx;
    const struct local *local = a->mp->local(a->self, l->shard);
    struct policy *p = local->policy;
    answer->code = MP_CODE_UNAUTHORIZED;
    if (l->token.n == 0 || l->token.n > TOKEN_MAX || memchr(l->token.p, '\0', l->token.n)) {
        snprintf(answer->message, sizeof answer->message,
                 l->token.n ? "token: not one that is taken here" : "token: missing");
        count(a, l->shard, answer);
        return MP_NOW;
    }
    struct job *j = malloc(sizeof *j + l->token.n + 1);
    if (!j) {
        answer->code = MP_CODE_UNAVAILABLE;
        snprintf(answer->message, sizeof answer->message, "out of memory");
        return MP_NOW;
    }
    *j = (struct job){
        .auth = a, .policy = p, .ticket = l->ticket, .answer = *answer, .now = (double)a->mp->wall_ms() / 1000.0};
    memcpy(j->token, l->token.p, l->token.n);
    j->token[l->token.n] = '\0';
    if (!alg_is_hmac(p->keys.alg)) {
        atomic_fetch_add(&p->users, 1);
        if (a->mp->work(a->self, job_run, l->shard, job_done, j) == MP_OK)
            return MP_LATER;
        atomic_fetch_sub(&p->users, 1);
        answer->code = MP_CODE_UNAVAILABLE;
        snprintf(answer->message, sizeof answer->message, "the server cannot check tokens now");
    } else {
        job_run(j);
        *answer = j->answer;
        count(a, l->shard, answer);
    }
    explicit_bzero(j->token, l->token.n);
    free(j);
    return MP_NOW;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static void fini(void *state)
{
    struct auth *a = state;
    policy_drop(a->policy);
    free_files(a->files);
    if (a->secret)
        explicit_bzero(a->secret, strlen(a->secret));
    free(a->secret);
    free(a);
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
    char why[400];
    struct auth *a = calloc(1, sizeof *a);
    if (!a)
        return MP_ENOMEM;
    a->self = self;
    a->mp = mp;
    const char *secret = mp->option_text(o, "secret");
    int rc = copy_files(mp, o, a->files, why, sizeof why);
    a->policy = rc == MP_OK ? policy_new(mp, o, a->files, why, sizeof why) : NULL;
    a->secret = secret ? strdup(secret) : NULL;
    if (!a->policy) {
        struct mp_field field = mp_field_text("error", mp_str(why));
        mp->log(self, MP_ERROR, "failed", &field, 1);
        fini(a);
        return MP_EINVALID;
    }
    for (unsigned i = 0; i < KEYS_MAX && a->files[i]; i++)
        a->stamps[i] = stamp_of(a->files[i]);
    rc = secret && !a->secret ? MP_ENOMEM : register_all(a);
    if (rc < 0) {
        fini(a);
        return rc;
    }
    *state = a;
    return MP_OK;
}

static int shard_init(void *state, mp_thread *shard, void **shard_state)
{
    struct auth *a = state;
    struct local *l = calloc(1, sizeof *l);
    (void)shard;
    if (!l)
        return MP_ENOMEM;
    l->policy = a->policy;
    atomic_fetch_add(&l->policy->users, 1);
    *shard_state = l;
    return MP_OK;
}

static void shard_fini(void *state, mp_thread *shard, void *shard_state)
{
    struct local *l = shard_state;
    (void)state, (void)shard;
    policy_drop(l->policy);
    free(l);
}

MP_PLUGIN = {MP_PLUGIN_HEAD,
             MP_OPTIONS(options),
             .name = "auth_jwt",
             .version = "1.0",
             .summary = "Logins by JSON Web Token",
             .auth_mode = "jwt",
             .check = check,
             .init = init,
             .shard_init = shard_init,
             .shard_fini = shard_fini,
             .apply = apply,
             .fini = fini};
