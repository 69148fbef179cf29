#include "verify.h"

#include "object.h"
#include "policy.h"

#include <strings.h>

static bool refuse(struct mp_auth_answer *a, const char *message)
{
    a->code = MP_CODE_UNAUTHORIZED;
    snprintf(a->message, sizeof a->message, "token: %s", message);
    return false;
}

/* --- The form (RFC 7515, compact) --------------------------------------------------------------------------------- */

/* Base64url without padding (RFC 7515, 2) into *room, which goes on behind it. False: it is none, or one of several
 * spellings of the same bytes: who keeps a list of tokens that are no good must not be passed by another spelling. */
static bool decode(const char *from, size_t n, char **room, struct part *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0, value = 0;
    *out = (struct part){*room, 0};
    for (size_t i = 0; i < n; i++) {
        const char *at = from[i] ? strchr(digits, from[i]) : NULL;
        if (!at)
            return false;
        value = (value << 6 | (unsigned)(at - digits)) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out->p[out->n++] = (char)(value >> bits);
        }
    }
    *room += out->n;
    return n % 4 != 1 && (value & ((1u << bits) - 1)) == 0;
}

/* A token's three parts, decoded, and what is signed of it. */
struct jws {
    struct part header, claims, signature;
    const char *signing;
    size_t signing_n;
};

static bool take_apart(struct jws *j, const char *token, size_t n, char *room)
{
    const char *first = memchr(token, '.', n),
               *second = first ? memchr(first + 1, '.', n - (size_t)(first + 1 - token)) : NULL;
    if (!second)
        return false;
    const char *end = token + n;
    j->signing = token;
    j->signing_n = (size_t)(second - token);
    return decode(token, (size_t)(first - token), &room, &j->header) &&
           decode(first + 1, (size_t)(second - first - 1), &room, &j->claims) &&
           decode(second + 1, (size_t)(end - second - 1), &room, &j->signature);
}

/* --- The header --------------------------------------------------------------------------------------------------- */

/* Whether it is a token for logging in: other kinds that the same server may sign have a `typ` of their own (RFC
 * 8725, 3.11). A media type whose "application/" may be left out; its case does not count (RFC 7515, 4.1.9). Access
 * tokens are "at+jwt" (RFC 9068). */
static bool type_good(struct value typ)
{
    static const char *const types[] = {"JWT", "at+jwt", "application/jwt", "application/at+jwt"};
    if (typ.kind == VALUE_ABSENT)
        return true;
    for (unsigned i = 0; typ.kind == VALUE_TEXT && i < sizeof types / sizeof types[0]; i++)
        if (typ.text.n == strlen(types[i]) && strncasecmp(typ.text.p, types[i], typ.text.n) == 0)
            return true;
    return false;
}

/* Whether the header has a member of that name, be it null. */
static bool has_member(const struct object *o, const char *name)
{
    for (unsigned i = 0; i < o->count; i++)
        if (part_is(o->list[i].name, name))
            return true;
    return false;
}

/* What a header asks for is obeyed in nothing: the algorithm must be ours (RFC 8725, 2.1), and keys that it holds or
 * points to are passed over. */
static bool header_good(const struct policy *p, struct object *o, struct part text, struct mp_auth_answer *a)
{
    if (object_read(o, text.p, text.n) != NULL)
        return refuse(a, "not one that is taken here");
    struct value alg = object_get(o, "alg"), b64 = object_get(o, "b64");
    if (has_member(o, "crit"))
        return refuse(a, "it needs extensions (crit) that this server does not have");
    if (b64.kind != VALUE_ABSENT && b64.kind != VALUE_TRUE)
        return refuse(a, "its claims are not in base64url (b64)");
    if (!type_good(object_get(o, "typ")))
        return refuse(a, "of another type (typ) than JWT or at+jwt");
    if (alg.kind != VALUE_TEXT || !part_is(alg.text, algorithm_name(p->keys.algorithm)))
        return refuse(a, "not one that is taken here");
    return true;
}

static bool signature_good(const struct policy *p, const struct jws *j)
{
    for (unsigned i = 0; i < p->keys.count; i++)
        if (key_signed(p->keys.algorithm, &p->keys.list[i], j->signing, j->signing_n,
                       (const unsigned char *)j->signature.p, j->signature.n))
            return true;
    return false;
}

/* --- The claims --------------------------------------------------------------------------------------------------- */

/* A NumericDate (RFC 7519, 2), fraction and all: 1: there; 0: absent; -1: no number. */
static int get_date(const struct object *o, const char *claim, double *out)
{
    struct value v = object_get(o, claim);
    if (v.kind == VALUE_ABSENT)
        return 0;
    return v.kind == VALUE_NUMBER && number_value(v, out) ? 1 : -1;
}

/* A date in milliseconds, which fits; 1 at least, as 0 means that there is none. */
static uint64_t date_ms(double seconds)
{
    enum { FAR = 1 << 30 };
    return seconds < 0.001 ? 1 : seconds > FAR * 100.0 ? (uint64_t)FAR * 100000 : (uint64_t)(seconds * 1000);
}

/* When the login ends, by the server's date: at exp, or for one that came within the leeway behind it, at that one's
 * end. `clock` is the one by which the token is valid. */
static uint64_t end_ms(const struct policy *p, double exp, double clock, struct verify_time now)
{
    double left = clock < exp ? exp - clock : exp + p->leeway - clock;
    return date_ms(now.date + left);
}

static bool times_good(const struct policy *p, const struct object *o, struct verify_time now, struct mp_auth_answer *a)
{
    double exp = 0, nbf = 0, iat = 0;
    int has_exp = get_date(o, "exp", &exp), has_nbf = get_date(o, "nbf", &nbf), has_iat = get_date(o, "iat", &iat);
    if (has_exp < 0 || has_nbf < 0 || has_iat < 0)
        return refuse(a, "exp, nbf and iat must be numbers");
    if (!has_exp && p->require_expiry)
        return refuse(a, "without exp");
    const double clocks[] = {now.date, now.wall};
    for (unsigned i = 0; i < 2; i++) {
        bool begun = !has_nbf || clocks[i] >= nbf - p->leeway, over = has_exp && clocks[i] >= exp + p->leeway;
        if (begun && !over) {
            a->expires_ms = has_exp ? end_ms(p, exp, clocks[i], now) : 0;
            a->issued_ms = has_iat ? date_ms(iat) : 0;
            return true;
        }
        if (i == 1)
            return refuse(a, over ? "expired" : "not valid yet");
    }
    return false;
}

/* `aud` is a text or a list of texts (RFC 7519, 4.1.3). */
static bool audience_good(const struct policy *p, const struct object *o)
{
    struct value v = object_get(o, "aud");
    if (!p->audience)
        return true;
    return v.kind == VALUE_ARRAY ? array_has(v, p->audience) : v.kind == VALUE_TEXT && part_is(v.text, p->audience);
}

/* A text, or a whole number as its digits: user numbers of databases come as such. False: neither. Absent is the empty
 * text. */
static bool get_text(const struct object *o, const char *claim, struct part *out)
{
    struct value v = object_get(o, claim);
    *out = v.text;
    if (v.kind == VALUE_ABSENT)
        *out = (struct part){NULL, 0};
    else if (v.kind == VALUE_NUMBER)
        for (size_t i = 0; i < v.text.n; i++)
            if (v.text.p[i] < '0' || v.text.p[i] > '9')
                return false;
    return v.kind == VALUE_ABSENT || v.kind == VALUE_NUMBER || v.kind == VALUE_TEXT;
}

static bool id_good(struct part id)
{
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i], low = (char)(c | 32);
        if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != ':' && c != '-')
            return false;
    }
    return id.n >= 1 && id.n <= 64 && !part_is(id, "system");
}

/* C0, DEL and C1. The text is valid UTF-8. */
static bool has_control(struct part text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    for (size_t i = 0; i < text.n; i++)
        if (p[i] < 0x20 || p[i] == 0x7f || (p[i] == 0xc2 && p[i + 1] < 0xa0))
            return true;
    return false;
}

static bool identify(const struct policy *p, const struct object *o, struct mp_auth_answer *a)
{
    struct part id, name;
    if (strcmp(p->id_claim, "sub") == 0 && object_get(o, "sub").kind == VALUE_NUMBER)
        return refuse(a, "its sub is a number, and must be a text (RFC 7519)");
    if (!get_text(o, p->id_claim, &id))
        return refuse(a, "the id in it is neither a text nor a whole number");
    if (id.n == 0)
        return refuse(a, "names nobody");
    if (!id_good(id))
        return refuse(a, "the id in it cannot be a user's here");
    if (!get_text(o, p->name_claim, &name))
        return refuse(a, "the name in it is neither a text nor a whole number");
    if (name.n > 64)
        return refuse(a, "the name in it is longer than 64 bytes");
    if (has_control(name))
        return refuse(a, "the name in it has control characters");
    a->code = MP_CODE_OK;
    memcpy(a->id, id.p, id.n);
    a->id[id.n] = '\0';
    if (name.n)
        memcpy(a->name, name.p, name.n);
    a->name[name.n] = '\0';
    return true;
}

/* --- What others are told ----------------------------------------------------------------------------------------- */

/* The text so far, and whether all of it found room. */
struct text {
    char *p;
    size_t n, size;
    bool full;
};

static void put(struct text *t, const char *p, size_t n)
{
    if (n >= t->size - t->n) {
        t->full = true;
        return;
    }
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = '\0';
}

static void put_string(struct text *t, struct part s)
{
    char escape[8];
    put(t, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            put(t, s.p + i, 1);
        else
            put(t, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    }
    put(t, "\"", 1);
}

/* The claims of the option, as a JSON object. Before the audience is looked for, which undoes escapes. */
static bool pass_on(const struct policy *p, const struct object *o, struct mp_auth_answer *a)
{
    struct text t = {.p = a->claims, .size = sizeof a->claims};
    for (unsigned i = 0; p->claims[i]; i++) {
        struct value v = object_get(o, p->claims[i]);
        if (v.kind == VALUE_ABSENT)
            continue;
        put(&t, t.n ? "," : "{", 1);
        put_string(&t, (struct part){p->claims[i], strlen(p->claims[i])});
        put(&t, ":", 1);
        if (v.kind == VALUE_TEXT)
            put_string(&t, v.text);
        else
            put(&t, v.text.p, v.text.n);
    }
    if (t.n)
        put(&t, "}", 1);
    return !t.full || refuse(a, "the claims that the server is to know are longer than 4095 bytes");
}

static void claims_judge(const struct policy *p, struct object *o, struct part text, struct verify_time now,
                         struct mp_auth_answer *a)
{
    const char *wrong = object_read(o, text.p, text.n);
    if (wrong) {
        char message[80];
        snprintf(message, sizeof message, "its claims are not a JSON object: %s", wrong);
        refuse(a, message);
        return;
    }
    struct value issuer = object_get(o, "iss");
    if (!times_good(p, o, now, a) || !pass_on(p, o, a))
        return;
    if (p->issuer && (issuer.kind != VALUE_TEXT || !part_is(issuer.text, p->issuer)))
        refuse(a, "of another issuer");
    else if (!audience_good(p, o))
        refuse(a, "for another audience");
    else
        identify(p, o, a);
}

void verify(const struct policy *p, const char *token, size_t n, char *room, struct verify_time now,
            struct mp_auth_answer *answer)
{
    struct jws j;
    struct object o;
    /* One sentence for all forgeries: which part of one is wrong is nobody's business. */
    if (!take_apart(&j, token, n, room))
        refuse(answer, "not one that is taken here");
    else if (header_good(p, &o, j.header, answer)) {
        if (signature_good(p, &j))
            claims_judge(p, &o, j.claims, now, answer);
        else
            refuse(answer, "not one that is taken here");
    }
}
