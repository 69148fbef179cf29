#include "answer.h"

#include <stdlib.h>

static const struct {
    const char *name;
    enum mp_code code;
    bool login; /* may refuse a login */
} codes[] = {
    {"bad_request", MP_CODE_BAD_REQUEST, false},  {"unauthorized", MP_CODE_UNAUTHORIZED, true},
    {"forbidden", MP_CODE_FORBIDDEN, true},       {"not_found", MP_CODE_NOT_FOUND, false},
    {"too_large", MP_CODE_TOO_LARGE, false},      {"quota", MP_CODE_QUOTA, false},
    {"rate_limited", MP_CODE_RATE_LIMITED, true}, {"unavailable", MP_CODE_UNAVAILABLE, true},
    {"internal", MP_CODE_INTERNAL, true},
};

enum { DAY_S = 86400, CLAIMS_MAX = sizeof((struct mp_auth_answer *)0)->claims };

struct reading {
    mp_self *self;
    const struct mp_api *mp;
    enum about about;
    const mp_json *json;
    struct answer *a;
    char *why;
    size_t why_size;
};

static bool wrong(const struct reading *r, const char *why)
{
    snprintf(r->why, r->why_size, "%s", why);
    return false;
}

/* A text of at most max - 1 bytes; absent: "". */
static bool get_text(const struct reading *r, const char *key, char *out, size_t max)
{
    struct mp_str s;
    int rc = r->mp->json_text(r->json, key, &s);
    out[0] = '\0';
    if (rc == 1 && s.n < max) {
        memcpy(out, s.p, s.n);
        out[s.n] = '\0';
        return true;
    }
    if (rc == 0)
        return true;
    snprintf(r->why, r->why_size, "%s: expected a text of at most %zu bytes", key, max - 1);
    return false;
}

/* A whole number from 0 to max; absent: -1. */
static bool get_number(const struct reading *r, const char *key, int64_t max, int64_t *out)
{
    int rc = r->mp->json_int(r->json, key, out);
    if (rc == 0)
        *out = -1;
    if (rc == 0 || (rc == 1 && *out >= 0 && *out <= max))
        return true;
    snprintf(r->why, r->why_size, "%s: expected a whole number from 0 to %lld", key, (long long)max);
    return false;
}

static bool read_refusal(struct reading *r)
{
    char name[32];
    int64_t retry;
    struct answer *a = r->a;
    a->verdict = MP_REJECT;
    a->code = MP_CODE_FORBIDDEN;
    if (!get_text(r, "code", name, sizeof name) || !get_text(r, "message", a->message, sizeof a->message) ||
        !get_number(r, "retryAfter", (int64_t)DAY_S * 1000, &retry))
        return false;
    a->retry_after_ms = retry > 0 ? (uint32_t)retry : 0;
    for (unsigned i = 0; name[0] && i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(codes[i].name, name) != 0 || (r->about == ABOUT_LOGIN && !codes[i].login))
            continue;
        a->code = codes[i].code;
        return true;
    }
    return !name[0] || wrong(r, "code: no code that this may be refused with");
}

static char *copy_of(struct mp_str s)
{
    char *copy = malloc(s.n + 1);
    if (copy) {
        memcpy(copy, s.p, s.n);
        copy[s.n] = '\0';
    }
    return copy;
}

static bool read_claims(struct reading *r)
{
    const mp_json *claims = r->mp->json_get(r->json, "claims");
    mp_out *o = claims ? r->mp->out_new(r->self) : NULL;
    if (!o)
        return !claims || wrong(r, "out of memory");
    r->mp->json_put(o, claims);
    struct mp_str text = r->mp->out_str(o);
    bool good = text.n && text.p[0] == '{' && text.n < CLAIMS_MAX;
    r->a->claims = good ? copy_of(text) : NULL;
    r->mp->out_free(o);
    return r->a->claims || wrong(r, "claims: expected an object of at most 4095 bytes");
}

static bool read_login(struct reading *r)
{
    struct answer *a = r->a;
    int64_t expires;
    if (!get_text(r, "id", a->id, sizeof a->id) || !get_text(r, "name", a->name, sizeof a->name) ||
        !get_number(r, "expiresAt", (int64_t)1 << 52, &expires))
        return false;
    a->expires_ms = expires > 0 ? (uint64_t)expires : 0;
    return read_claims(r);
}

static bool read_message(struct reading *r)
{
    struct answer *a = r->a;
    struct mp_str content;
    bool drop = false;
    int rc = r->mp->json_text(r->json, "content", &content);
    if (rc < 0 || (rc == 1 && !content.n))
        return wrong(r, "content: expected a text that is not empty");
    if (r->mp->json_bool(r->json, "drop", &drop) < 0)
        return wrong(r, "drop: expected true or false");
    if (drop)
        a->verdict = MP_DROP;
    if (rc == 0)
        return true;
    a->content = copy_of(content);
    a->content_n = content.n;
    return a->content || wrong(r, "out of memory");
}

static bool read_all(struct reading *r)
{
    bool allow;
    int64_t cache;
    if (r->mp->json_bool(r->json, "allow", &allow) != 1)
        return wrong(r, "allow: expected true or false");
    if (!get_number(r, "cache", 365 * (int64_t)DAY_S, &cache))
        return false;
    r->a->cache_ms = cache < 0 ? -1 : cache * 1000;
    if (!allow)
        return read_refusal(r);
    if (r->about == ABOUT_LOGIN)
        return read_login(r);
    return r->about != ABOUT_MESSAGE || read_message(r);
}

struct answer *answer_plain(enum mp_verdict verdict, enum mp_code code, const char *message)
{
    struct answer *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    atomic_init(&a->refs, 1);
    a->verdict = verdict;
    a->code = code;
    a->cache_ms = -1;
    snprintf(a->message, sizeof a->message, "%s", message ? message : "");
    return a;
}

struct answer *answer_read(mp_self *self, const struct mp_api *mp, enum about about, struct mp_str text, char *why,
                           size_t why_size)
{
    const char *syntax = "";
    mp_json *json = mp->json_parse(text, &syntax);
    struct answer *a = json ? answer_plain(MP_PASS, MP_CODE_OK, NULL) : NULL;
    struct reading r = {.self = self, .mp = mp, .about = about, .json = json, .a = a, .why = why, .why_size = why_size};
    bool good = false;
    if (!json)
        snprintf(why, why_size, "it is no JSON: %s", syntax);
    else if (!a)
        snprintf(why, why_size, "out of memory");
    else
        good = read_all(&r);
    mp->json_free(json);
    if (good)
        return a;
    answer_unref(a);
    return NULL;
}

struct answer *answer_ref(struct answer *a)
{
    atomic_fetch_add(&a->refs, 1);
    return a;
}

void answer_unref(struct answer *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    free(a->claims);
    free(a->content);
    free(a);
}

size_t answer_size(const struct answer *a)
{
    return sizeof *a + (a->claims ? strlen(a->claims) + 1 : 0) + a->content_n;
}
