#include "core/net/extension.h"

#include "core/net/http.h"

#include <stdio.h>

enum { BITS_MAX = 15, NARROW_BITS = 9, VALUE_MAX = 16 };

/* What is left of a field's value. */
struct scanner {
    const char *p, *end;
};

static void skip_space(struct scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t'))
        s->p++;
}

/* Takes the character, and the space around it. */
static bool take(struct scanner *s, char c)
{
    skip_space(s);
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    skip_space(s);
    return true;
}

static bool is_token(char c)
{
    return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

/* Empty: there is none. */
static struct slice take_token(struct scanner *s)
{
    const char *from = s->p;
    while (s->p < s->end && is_token(*s->p))
        s->p++;
    return slice_of(from, (size_t)(s->p - from));
}

/* A value: a token, or one in quotes. Longer ones than any that is known are cut, which keeps them unknown. */
struct value {
    bool given;
    size_t n;
    char text[VALUE_MAX];
};

static bool put(struct value *v, char c)
{
    if (!is_token(c))
        return false;
    if (v->n < sizeof v->text)
        v->text[v->n++] = c;
    return true;
}

/* RFC 6455 9.1: between the quotes, once they and backslashes are taken off, stands a token. */
static bool take_quoted(struct scanner *s, struct value *v)
{
    for (s->p++; s->p < s->end && *s->p != '"'; s->p++) {
        if (*s->p == '\\' && ++s->p == s->end)
            return false;
        if (!put(v, *s->p))
            return false;
    }
    return s->p < s->end && s->p++ && v->n;
}

/* False: it is malformed. */
static bool take_value(struct scanner *s, struct value *v)
{
    *v = (struct value){.given = take(s, '=')};
    if (!v->given)
        return true;
    if (s->p < s->end && *s->p == '"')
        return take_quoted(s, v);
    struct slice token = take_token(s);
    for (size_t i = 0; i < token.n; i++)
        (void)put(v, token.p[i]);
    return token.n > 0;
}

/* 8 to 15, without leading zeros; 0: it is something else. */
static uint8_t bits_of(const struct value *v)
{
    if (v->n == 1 && (v->text[0] == '8' || v->text[0] == '9'))
        return (uint8_t)(v->text[0] - '0');
    if (v->n == 2 && v->text[0] == '1' && v->text[1] >= '0' && v->text[1] <= '5')
        return (uint8_t)(10 + v->text[1] - '0');
    return 0;
}

/* One parameter of permessage-deflate. `seen`: a bit for each that was there. False: the offer cannot be accepted. */
static bool take_parameter(struct slice name, const struct value *v, unsigned *seen, struct extension *out)
{
    static const char *const names[] = {"server_no_context_takeover", "client_no_context_takeover",
                                        "server_max_window_bits", "client_max_window_bits"};
    enum { SERVER_BITS = 2, CLIENT_BITS = 3, NAMES = 4 };
    unsigned i = 0;
    while (i < NAMES && !slice_eq(name, slice_str(names[i])))
        i++;
    if (i == NAMES || *seen & 1U << i)
        return false;
    *seen |= 1U << i;
    if (i < SERVER_BITS)
        return !v->given;
    if (i == SERVER_BITS)
        return (out->window_bits = bits_of(v)) != 0;
    return !v->given || bits_of(v) != 0; /* how far back the client looks is its own affair: we see all of it */
}

/* One extension with its parameters. `out` says whether it can be accepted. False: it is malformed. */
static bool take_extension(struct scanner *s, struct extension *out)
{
    unsigned seen = 0;
    struct slice name = take_token(s);
    *out = (struct extension){.deflate = slice_eq(name, SLICE_LIT("permessage-deflate"))};
    if (!name.n)
        return false;
    while (take(s, ';')) {
        struct value v;
        struct slice parameter = take_token(s);
        if (!parameter.n || !take_value(s, &v))
            return false;
        if (out->deflate && !take_parameter(parameter, &v, &seen, out))
            out->deflate = false;
    }
    return true;
}

/* One line's list. Elements of nothing are passed over, as RFC 9110 5.6.1.2 asks for. False: it is malformed. */
static bool take_list(struct slice line, struct extension *out)
{
    struct scanner s = {line.p, line.p + line.n};
    skip_space(&s);
    while (s.p < s.end) {
        struct extension offer;
        if (take(&s, ','))
            continue;
        if (!take_extension(&s, &offer))
            return false;
        skip_space(&s);
        if (s.p < s.end && *s.p != ',')
            return false;
        if (offer.deflate && !out->deflate)
            *out = offer;
    }
    return true;
}

int extension_negotiate(const struct http_head *h, struct extension *out)
{
    uint32_t at = 0;
    *out = (struct extension){.deflate = false};
    for (struct slice line; (line = http_next(h, "sec-websocket-extensions", &at)).p;)
        if (!take_list(line, out))
            return ERR_INVALID;
    return 0;
}

bool extension_narrow(const struct extension *e)
{
    return e->window_bits && e->window_bits < BITS_MAX;
}

void extension_answer(const struct extension *e, char out[EXTENSION_ANSWER_MAX])
{
    char bits[40] = "";
    unsigned most = extension_narrow(e) && e->window_bits > NARROW_BITS ? NARROW_BITS : e->window_bits;
    out[0] = '\0';
    if (!e->deflate)
        return;
    if (most)
        snprintf(bits, sizeof bits, "; server_max_window_bits=%u", most);
    snprintf(out, EXTENSION_ANSWER_MAX,
             "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
             "%s\r\n",
             bits);
}
