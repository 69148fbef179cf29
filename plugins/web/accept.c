#include "plugins/web/accept.h"

#include <strings.h>

static struct mp_str trimmed(struct mp_str s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t'))
        s = mp_str_of(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Takes what stands before `mark` off the front of the text, the mark too. */
static struct mp_str cut(struct mp_str *rest, char mark)
{
    const char *end = rest->n ? memchr(rest->p, mark, rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    struct mp_str part = mp_str_of(rest->p, n);
    *rest = end ? mp_str_of(end + 1, rest->n - n - 1) : mp_str_of(NULL, 0);
    return trimmed(part);
}

static bool is_word(struct mp_str s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

/* "q=0", "q=0.000": not acceptable. */
static bool is_zero(struct mp_str parameter)
{
    if (parameter.n < 3 || strncasecmp(parameter.p, "q=", 2) != 0)
        return false;
    for (size_t i = 2; i < parameter.n; i++)
        if (parameter.p[i] != '0' && parameter.p[i] != '.')
            return false;
    return true;
}

bool accept_gzip(struct mp_str field)
{
    bool any = false;
    while (field.n) {
        struct mp_str item = cut(&field, ',');
        struct mp_str coding = cut(&item, ';');
        bool good = !is_zero(trimmed(item));
        if (is_word(coding, "gzip") || is_word(coding, "x-gzip"))
            return good;
        if (is_word(coding, "*"))
            any = good;
    }
    return any;
}

bool etag_listed(struct mp_str field, const char *etag)
{
    while (field.n) {
        struct mp_str item = cut(&field, ',');
        if (is_word(item, "*"))
            return true;
        if (item.n > 2 && strncmp(item.p, "W/", 2) == 0)
            item = mp_str_of(item.p + 2, item.n - 2);
        if (mp_eq(item, mp_str(etag)))
            return true;
    }
    return false;
}
