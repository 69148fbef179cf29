#include "verify.h"

#include <math.h>
#include <stdlib.h>

void policy_drop(struct policy *p)
{
    if (!p || atomic_fetch_sub(&p->users, 1) != 1)
        return;
    keys_clear(&p->keys);
    free(p->issuer);
    free(p->audience);
    free(p->id_claim);
    free(p->name_claim);
    free(p);
}

static void refuse(struct mp_auth_answer *a, const char *message)
{
    a->code = MP_CODE_UNAUTHORIZED;
    snprintf(a->message, sizeof a->message, "token: %s", message);
}

/* The token when one of the keys signed it with the one algorithm; else NULL. The header names an algorithm of the
 * sender's choice (RFC 8725, 2.1), which libjwt follows: so the answer counts only when it was ours. */
static jwt_t *signed_token(const struct policy *p, const char *token)
{
    for (unsigned i = 0; i < p->keys.count; i++) {
        jwt_t *t = NULL;
        if (jwt_decode(&t, token, p->keys.list[i].p, p->keys.list[i].n) == 0 && t && jwt_get_alg(t) == p->keys.alg)
            return t;
        jwt_free(t);
    }
    return NULL;
}

/* A NumericDate (RFC 7519, 2): 1: there; 0: absent; -1: no number. */
static int get_date(jwt_t *t, const char *claim, double *out)
{
    char *text = jwt_get_grants_json(t, claim), *end = NULL;
    if (!text)
        return 0;
    *out = strtod(text, &end);
    int rc = end != text && *end == '\0' && isfinite(*out) ? 1 : -1;
    free(text);
    return rc;
}

static bool times_good(const struct policy *p, jwt_t *t, double now, struct mp_auth_answer *a)
{
    double exp = 0, nbf = 0;
    int has_exp = get_date(t, "exp", &exp), has_nbf = get_date(t, "nbf", &nbf);
    if (has_exp < 0 || has_nbf < 0)
        refuse(a, "exp and nbf must be numbers");
    else if (!has_exp && p->require_expiry)
        refuse(a, "without exp");
    else if (has_exp && now >= exp + p->leeway)
        refuse(a, "expired");
    else if (has_nbf && now < nbf - p->leeway)
        refuse(a, "not valid yet");
    else
        return true;
    return false;
}

/* `aud` is a text or a list of texts (RFC 7519, 4.1.3). */
static bool audience_good(const struct policy *p, const struct mp_api *mp, jwt_t *t)
{
    if (!p->audience)
        return true;
    const char *one = jwt_get_grant(t, "aud");
    if (one)
        return strcmp(one, p->audience) == 0;
    char *list = jwt_get_grants_json(t, "aud");
    size_t n = list ? strlen(list) : 0;
    char *wrapped = list ? malloc(n + 16) : NULL;
    bool found = false;
    if (wrapped) {
        int size = snprintf(wrapped, n + 16, "{\"aud\":%s}", list);
        mp_json *v = mp->json_parse(mp_str_of(wrapped, (size_t)size), NULL);
        const mp_json *array = v ? mp->json_get(v, "aud") : NULL, *item;
        struct mp_str text;
        for (unsigned i = 0; array && !found && (item = mp->json_at(array, i)); i++)
            found = mp->json_string(item, &text) && mp_eq(text, mp_str(p->audience));
        if (v)
            mp->json_free(v);
    }
    free(wrapped);
    free(list);
    return found;
}

static void identify(const struct policy *p, const struct mp_api *mp, jwt_t *t, double now, struct mp_auth_answer *a)
{
    const char *issuer = jwt_get_grant(t, "iss"), *id = jwt_get_grant(t, p->id_claim),
               *name = jwt_get_grant(t, p->name_claim);
    if (!times_good(p, t, now, a))
        return;
    if (p->issuer && (!issuer || strcmp(issuer, p->issuer) != 0)) {
        refuse(a, "of another issuer");
    } else if (!audience_good(p, mp, t)) {
        refuse(a, "for another audience");
    } else if (!id || !id[0]) {
        refuse(a, "names nobody");
    } else if (strlen(id) >= sizeof a->id ||
               strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-") != strlen(id) ||
               strcmp(id, "system") == 0) {
        refuse(a, "the id in it cannot be a user's here");
    } else if (name && strlen(name) >= sizeof a->name) {
        refuse(a, "the name in it is longer than 64 bytes");
    } else {
        a->code = MP_CODE_OK;
        memcpy(a->id, id, strlen(id) + 1);
        if (name)
            memcpy(a->name, name, strlen(name) + 1);
    }
}

void verify(const struct policy *p, const struct mp_api *mp, const char *token, double now,
            struct mp_auth_answer *answer)
{
    jwt_t *t = signed_token(p, token);
    /* One sentence for all: which part of a forgery is wrong is nobody's business. */
    if (!t) {
        refuse(answer, "not one that is taken here");
        return;
    }
    identify(p, mp, t, now, answer);
    jwt_free(t);
}
