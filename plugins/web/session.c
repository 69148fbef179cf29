#include "plugins/web/session.h"

#include <openssl/evp.h>
#include <strings.h>
#include <sys/random.h>

enum { SECRET_BYTES = (SESSION_SECRET - 1) / 2 };

static void put_hex(char out[SESSION_SECRET], const unsigned char bytes[SECRET_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SECRET_BYTES; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[SESSION_SECRET - 1] = '\0';
}

static bool make_secret(char out[SESSION_SECRET])
{
    unsigned char bytes[SECRET_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    put_hex(out, bytes);
    return true;
}

/* SHA-256 of a cookie. */
static bool make_digest(char out[SESSION_SECRET], struct mp_str name)
{
    unsigned char bytes[SECRET_BYTES];
    unsigned n = 0;
    if (EVP_Digest(name.p, name.n, bytes, &n, EVP_sha256(), NULL) != 1 || n != sizeof bytes)
        return false;
    put_hex(out, bytes);
    return true;
}

static bool make_name(struct session *one, unsigned node)
{
    char secret[SESSION_SECRET];
    bool made = make_secret(secret);
    if (made && node)
        snprintf(one->name, sizeof one->name, "%u-%s", node % 100000, secret);
    else if (made)
        snprintf(one->name, sizeof one->name, "%s", secret);
    explicit_bzero(secret, sizeof secret);
    return made && make_digest(one->digest, mp_str(one->name));
}

void session_end(struct session *one)
{
    explicit_bzero(one, sizeof *one);
}

static bool is_over(const struct sessions *s, const struct session *one, uint64_t password, uint64_t now_ms)
{
    return one->password != password || now_ms - one->used_ms >= s->idle_ms ||
           now_ms - one->began_ms >= SESSION_HOURS * 3600000ULL;
}

struct session *session_new(struct sessions *s, uint64_t password, uint64_t now_ms)
{
    struct session *one = &s->list[0];
    for (unsigned i = 0; i < SESSIONS && one->name[0]; i++)
        if (!s->list[i].name[0] || s->list[i].used_ms < one->used_ms)
            one = &s->list[i];
    session_end(one);
    if (!make_name(one, s->node) || !make_secret(one->token)) {
        session_end(one);
        return NULL;
    }
    one->began_ms = one->used_ms = now_ms;
    one->password = password;
    one->number = ++s->numbers;
    return one;
}

/* Takes the next cookie off the field's value; false: there is none left. */
static bool next_cookie(struct mp_str *field, struct mp_str *name, struct mp_str *value)
{
    while (field->n && (*field->p == ' ' || *field->p == ';'))
        *field = mp_str_of(field->p + 1, field->n - 1);
    if (!field->n)
        return false;
    const char *end = memchr(field->p, ';', field->n);
    size_t n = end ? (size_t)(end - field->p) : field->n;
    const char *equals = memchr(field->p, '=', n);
    size_t name_n = equals ? (size_t)(equals - field->p) : n;
    *name = mp_str_of(field->p, name_n);
    *value = equals ? mp_str_of(equals + 1, n - name_n - 1) : mp_str("");
    *field = mp_str_of(field->p + n, field->n - n);
    return true;
}

/* Marked as used; NULL: its time is over. */
static struct session *in_use(const struct sessions *s, struct session *one, uint64_t password, uint64_t now_ms)
{
    if (!one)
        return NULL;
    if (is_over(s, one, password, now_ms)) {
        session_end(one);
        return NULL;
    }
    one->used_ms = now_ms;
    return one;
}

struct session *session_find(struct sessions *s, struct mp_str cookies, uint64_t password, uint64_t now_ms)
{
    struct mp_str name, value;
    struct session *found = NULL;
    while (next_cookie(&cookies, &name, &value)) {
        if (!mp_eq(name, mp_str(SESSION_COOKIE)))
            continue;
        for (unsigned i = 0; i < SESSIONS; i++)
            if (mp_same_secret(mp_str(s->list[i].name), value))
                found = &s->list[i];
    }
    return in_use(s, found, password, now_ms);
}

struct session *session_find_digest(struct sessions *s, struct mp_str digest, uint64_t password, uint64_t now_ms)
{
    struct session *found = NULL;
    for (unsigned i = 0; i < SESSIONS; i++)
        if (mp_same_secret(mp_str(s->list[i].digest), digest))
            found = &s->list[i];
    return in_use(s, found, password, now_ms);
}

/* The node's number in front of a cookie's secret; 0: it has none. */
static unsigned node_of(struct mp_str value)
{
    unsigned node = 0;
    size_t i = 0;
    for (; i < value.n && i < 5 && value.p[i] >= '0' && value.p[i] <= '9'; i++)
        node = node * 10 + (unsigned)(value.p[i] - '0');
    return i && i < value.n && value.p[i] == '-' && value.n - i == SESSION_SECRET ? node : 0;
}

unsigned session_elsewhere(const struct sessions *s, struct mp_str cookies, char digest[SESSION_SECRET])
{
    struct mp_str name, value;
    while (s->node && next_cookie(&cookies, &name, &value)) {
        unsigned node = mp_eq(name, mp_str(SESSION_COOKIE)) ? node_of(value) : 0;
        if (node && node != s->node && make_digest(digest, value))
            return node;
    }
    return 0;
}

bool session_same_site(struct mp_str fetch_site, struct mp_str origin, struct mp_str host)
{
    static const char separator[] = "://";
    if (fetch_site.p)
        return mp_eq(fetch_site, mp_str("same-origin"));
    if (!origin.p)
        return true;
    const char *at = origin.n ? memmem(origin.p, origin.n, separator, sizeof separator - 1) : NULL;
    if (!at)
        return false;
    at += sizeof separator - 1;
    size_t n = (size_t)(origin.p + origin.n - at);
    return n == host.n && n && strncasecmp(at, host.p, n) == 0;
}
