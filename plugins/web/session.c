#include "plugins/web/session.h"

#include <strings.h>
#include <sys/random.h>

static bool make_secret(char out[SESSION_SECRET])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[(SESSION_SECRET - 1) / 2];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[SESSION_SECRET - 1] = '\0';
    return true;
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
    if (!make_secret(one->name) || !make_secret(one->token)) {
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
    if (!found)
        return NULL;
    if (is_over(s, found, password, now_ms)) {
        session_end(found);
        return NULL;
    }
    found->used_ms = now_ms;
    return found;
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
