/* http_api: a REST interface for other servers, on the WebSocket port. This file: the plugin, its keys, and from a
 * request to its endpoint. */
#include "http_api.h"

#include <stdlib.h>

/* --- The end of a call -------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned status;
} codes[] = {
    [MP_CODE_OK] = {"ok", 200},
    [MP_CODE_BAD_REQUEST] = {"bad_request", 400},
    [MP_CODE_UNKNOWN_ACTION] = {"unknown_action", 404},
    [MP_CODE_UNAUTHORIZED] = {"unauthorized", 401},
    [MP_CODE_FORBIDDEN] = {"forbidden", 403},
    [MP_CODE_NOT_FOUND] = {"not_found", 404},
    [MP_CODE_TOO_LARGE] = {"too_large", 413},
    [MP_CODE_QUOTA] = {"quota", 403},
    [MP_CODE_RATE_LIMITED] = {"rate_limited", 429},
    [MP_CODE_UNAVAILABLE] = {"unavailable", 503},
    [MP_CODE_INTERNAL] = {"internal", 500},
};

static void call_end(struct call *c, unsigned status, const struct mp_http_header *more, size_t more_n)
{
    struct mp_http_header headers[4] = {{"Cache-Control", "no-store"}}; /* the server adds nosniff */
    size_t n = 1;
    for (size_t i = 0; i < more_n; i++)
        headers[n++] = more[i];
    struct mp_str body = c->out ? c->mp->out_str(c->out) : mp_str_of(NULL, 0);
    struct mp_http_answer a = {.size = sizeof a,
                               .status = status,
                               .content_type = "application/json",
                               .headers = headers,
                               .header_count = n,
                               .body = body};
    if (!body.p) {
        a.status = 503;
        a.body = mp_str("{\"error\":{\"code\":\"unavailable\",\"message\":\"out of memory\"}}");
    }
    c->mp->http_answer(c->http, &a);
    if (c->out)
        c->mp->out_free(c->out);
    if (c->body)
        c->mp->json_free(c->body);
    free(c->state);
    free(c);
}

void call_answer(struct call *c, unsigned status)
{
    call_end(c, status, NULL, 0);
}

static void put_error(struct call *c, const char *code, uint32_t retry_after_ms, const char *message)
{
    if (!c->out)
        return;
    c->mp->out_reset(c->out);
    c->mp->out_printf(c->out, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    c->mp->out_json(c->out, mp_str(message));
    if (retry_after_ms)
        c->mp->out_printf(c->out, ",\"retryAfter\":%u", retry_after_ms);
    c->mp->out_put(c->out, mp_str("}}"));
}

void call_conflict(struct call *c, const char *message)
{
    c->mp->count(c->api->self, c->shard, c->api->errors, 1);
    put_error(c, codes[MP_CODE_FORBIDDEN].name, 0, message);
    call_end(c, 409, NULL, 0);
}

void call_error(struct call *c, enum mp_code code, uint32_t retry_after_ms, const char *message)
{
    char seconds[16];
    struct mp_http_header header = {NULL, NULL};
    c->mp->count(c->api->self, c->shard, c->api->errors, 1);
    put_error(c, codes[code].name, retry_after_ms, message);
    if (code == MP_CODE_UNAUTHORIZED) {
        header = (struct mp_http_header){"WWW-Authenticate", "Bearer"};
    } else if (code == MP_CODE_RATE_LIMITED || retry_after_ms) {
        snprintf(seconds, sizeof seconds, "%u", retry_after_ms / 1000 + 1);
        header = (struct mp_http_header){"Retry-After", seconds};
    }
    call_end(c, codes[code].status, &header, header.name ? 1 : 0);
}

void call_result(struct call *c, const struct mp_result *r)
{
    call_error(c, r->code, r->retry_after_ms, r->message);
}

void call_began(struct call *c, int rc)
{
    if (rc == MP_EINVALID)
        call_error(c, MP_CODE_BAD_REQUEST, 0, "a user's id, a channel's name, sender or content: not a valid one");
    else if (rc < 0)
        call_error(c, MP_CODE_UNAVAILABLE, 0, rc == MP_ENOMEM ? "out of memory" : "the server cannot do that now");
}

/* --- What a request says ------------------------------------------------------------------------------------------ */

static void say(struct call *c, const char *field, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "%s: %s", field, what);
    call_error(c, MP_CODE_BAD_REQUEST, 0, text);
}

bool call_text(struct call *c, const char *name, char *out, size_t size)
{
    int rc = c->mp->http_param(c->http, name, out, size);
    if (rc == MP_ENOTFOUND)
        out[0] = '\0';
    if (rc >= 0 || rc == MP_ENOTFOUND)
        return true;
    say(c, name, rc == MP_EFULL ? "too long" : "expected UTF-8");
    return false;
}

bool call_number(struct call *c, const char *name, uint64_t max, bool *has, uint64_t *out)
{
    char text[32];
    int rc = c->mp->http_param(c->http, name, text, sizeof text);
    uint64_t v = 0;
    bool good = rc > 0;
    *has = rc >= 0;
    if (rc == MP_ENOTFOUND)
        return true;
    for (const char *p = text; good && *p; p++) {
        good = *p >= '0' && *p <= '9' && v <= (UINT64_MAX - 9) / 10;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (!good) {
        say(c, name, "expected a whole number");
        return false;
    }
    *out = v < max ? v : max;
    return true;
}

bool body_text(struct call *c, const char *name, bool required, struct mp_str *out)
{
    int rc = c->body ? c->mp->json_text(c->body, name, out) : 0;
    if (rc == 0)
        *out = mp_str_of(NULL, 0);
    if (rc == 1 || (rc == 0 && !required))
        return true;
    say(c, name, rc == 0 ? "missing" : "expected a string");
    return false;
}

bool body_bool(struct call *c, const char *name, bool *out)
{
    int rc = c->body ? c->mp->json_bool(c->body, name, out) : 0;
    if (rc >= 0)
        return true;
    say(c, name, "expected true or false");
    return false;
}

bool body_number(struct call *c, const char *name, uint64_t max, bool *has, uint64_t *out)
{
    int64_t v = 0;
    int rc = c->body ? c->mp->json_int(c->body, name, &v) : 0;
    if (has)
        *has = rc == 1;
    if (rc == 1)
        *out = (uint64_t)v;
    if (rc == 0 || (rc == 1 && v >= 0 && (uint64_t)v <= max))
        return true;
    say(c, name, "expected a whole number that is not negative");
    return false;
}

bool body_choice(struct call *c, const char *name, const char *const *choices, bool *has, unsigned *out)
{
    char text[120] = "expected";
    struct mp_str word;
    if (!body_text(c, name, false, &word))
        return false;
    *has = word.p != NULL;
    if (!*has)
        return true;
    for (*out = 0; choices[*out]; ++*out)
        if (mp_eq(word, mp_str(choices[*out])))
            return true;
    for (unsigned i = 0; choices[i]; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s \"%s\"", i ? "," : "", choices[i]);
    say(c, name, text);
    return false;
}

bool path_seq(struct call *c, unsigned arg, uint64_t *out)
{
    const char *p = c->args[arg];
    size_t n = strlen(p);
    if (n < 1 || n > 18 || strspn(p, "0123456789") != n || (*out = strtoull(p, NULL, 10)) == 0) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "path: expected a message's seq, 1 or more");
        return false;
    }
    return true;
}

bool page_limit(struct call *c, uint32_t max, uint32_t *out)
{
    bool has;
    uint64_t limit = 50;
    if (!call_number(c, "limit", max, &has, &limit))
        return false;
    if (has && limit == 0) {
        call_error(c, MP_CODE_BAD_REQUEST, 0, "limit: expected 1 or more");
        return false;
    }
    *out = (uint32_t)limit;
    return true;
}

/* --- Fields that nobody knows ------------------------------------------------------------------------------------- */

enum { WORD_MAX = 32 };

/* How many letters make one of the other. */
static unsigned distance(struct mp_str a, struct mp_str b)
{
    unsigned row[WORD_MAX + 1];
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 0; i < a.n; i++) {
        unsigned before = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < b.n; j++) {
            unsigned change = before + (a.p[i] != b.p[j]), least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            before = row[j + 1];
            row[j + 1] = change < least ? change : least;
        }
    }
    return row[b.n];
}

/* Whether `name` is one of the words; else *nearest is the one that was probably meant, empty: none. */
static bool word_known(const char *words, struct mp_str name, struct mp_str *nearest)
{
    unsigned least = 3;
    *nearest = mp_str("");
    for (const char *at = words; at && *at;) {
        struct mp_str word = mp_str_of(at, strcspn(at, " "));
        if (mp_eq(word, name))
            return true;
        unsigned d = name.n && name.n <= WORD_MAX && word.n <= WORD_MAX ? distance(name, word) : 3;
        if (d < least) {
            least = d;
            *nearest = word;
        }
        at += word.n + (at[word.n] == ' ');
    }
    return false;
}

/* Answers that `name` is unknown, of the body or the query. */
static void refuse_word(struct call *c, const char *where, const char *words, struct mp_str name, struct mp_str nearest)
{
    char text[400];
    int shown = name.n < 64 ? (int)name.n : 64;
    while (shown > 0 && shown < (int)name.n && (name.p[shown] & 0xC0) == 0x80)
        shown--;
    int n = snprintf(text, sizeof text, "%.*s: unknown %s", shown, name.p, where);
    if (nearest.n)
        snprintf(text + n, sizeof text - (size_t)n, "; did you mean %.*s?", (int)nearest.n, nearest.p);
    else if (words)
        snprintf(text + n, sizeof text - (size_t)n, "; known are: %s", words);
    else
        snprintf(text + n, sizeof text - (size_t)n, "; there are none here");
    call_error(c, MP_CODE_BAD_REQUEST, 0, text);
}

/* Whether the endpoint knows all that the request gives; else it has been answered. */
static bool all_known(struct call *c, const struct endpoint *e)
{
    struct mp_str nearest, name;
    for (unsigned i = 0; c->body && (name = c->mp->json_key(c->body, i)).p; i++) {
        if (!word_known(e->fields, name, &nearest)) {
            refuse_word(c, "field", e->fields, name, nearest);
            return false;
        }
    }
    for (struct mp_str rest = c->q->query; rest.n;) {
        char text[ARG_SIZE];
        const char *end = memchr(rest.p, '&', rest.n);
        struct mp_str pair = mp_str_of(rest.p, end ? (size_t)(end - rest.p) : rest.n);
        const char *equals = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
        name = mp_str_of(pair.p, equals ? (size_t)(equals - pair.p) : pair.n);
        rest = end ? mp_str_of(end + 1, rest.n - pair.n - 1) : mp_str("");
        if (!pair.n)
            continue;
        bool readable = c->mp->url_decode(name, text, sizeof text) >= 0;
        if (readable && word_known(e->query, mp_str(text), &nearest))
            continue;
        refuse_word(c, "parameter", e->query, readable ? mp_str(text) : mp_str("?"), readable ? nearest : mp_str(""));
        return false;
    }
    return true;
}

/* --- Who may ------------------------------------------------------------------------------------------------------ */

static bool may(struct call *c)
{
    const struct keys *k = c->mp->current_get(c->api->keys, c->shard);
    bool found = false;
    for (unsigned i = 0; i < k->count; i++)
        found |= mp_same_secret(mp_str(k->list[i]), c->q->bearer);
    return found;
}

/* --- Which endpoint ----------------------------------------------------------------------------------------------- */

/* Whether the path is the endpoint's; its arguments are decoded. A segment is decoded after the path was cut, so that
 * an encoded slash stays within its segment. */
static bool matches(struct call *c, const char *pattern, struct mp_str path, bool *bad)
{
    unsigned args = 0;
    const char *at = path.p, *end = path.p + path.n;
    while (*pattern) {
        if (strncmp(pattern, "{}", 2) == 0) {
            const char *stop = memchr(at, '/', (size_t)(end - at));
            size_t n = (size_t)((stop ? stop : end) - at);
            if (n == 0)
                return false;
            *bad = *bad || c->mp->url_decode(mp_str_of(at, n), c->args[args], sizeof c->args[args]) <= 0;
            args++;
            at += n;
            pattern += 2;
        } else if (at < end && *at == *pattern) {
            at++;
            pattern++;
        } else {
            return false;
        }
    }
    return at == end;
}

static void not_allowed(struct call *c, const char *allow)
{
    const struct mp_http_header header = {"Allow", allow};
    c->mp->count(c->api->self, c->shard, c->api->errors, 1);
    c->mp->out_printf(c->out, "{\"error\":{\"code\":\"bad_request\",\"message\":\"method: expected %s\"}}", allow);
    call_end(c, 405, &header, 1);
}

static void find_endpoint(struct call *c)
{
    char allow[64] = "";
    struct mp_str method = c->q->method;
    if (mp_eq(method, mp_str("HEAD")))
        method = mp_str("GET");
    for (unsigned i = 0; i < endpoint_count; i++) {
        const struct endpoint *e = &endpoints[i];
        bool bad = false;
        if (!matches(c, e->path, c->q->rest, &bad))
            continue;
        if (!mp_eq(method, mp_str(e->method))) {
            snprintf(allow + strlen(allow), sizeof allow - strlen(allow), "%s%s", allow[0] ? ", " : "", e->method);
            continue;
        }
        if (bad)
            call_error(c, MP_CODE_BAD_REQUEST, 0, "path: expected ids and names in UTF-8, with %XX where it is needed");
        else if (all_known(c, e))
            e->run(c);
        return;
    }
    if (allow[0])
        not_allowed(c, allow);
    else
        call_error(c, MP_CODE_NOT_FOUND, 0, "there is no such endpoint; plugins/http_api/openapi.json lists them");
}

/* How many of the first bytes are blanks; at most all but one. */
static size_t blanks(struct mp_str s)
{
    size_t n = 0;
    while (n + 1 < s.n && memchr(" \t\r\n", s.p[n], 4))
        n++;
    return n;
}

static void on_request(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    struct api *a = ctx;
    const char *why = NULL;
    a->mp->count(a->self, shard, a->requests, 1);
    struct call *c = calloc(1, sizeof *c);
    if (!c) {
        struct mp_http_answer answer = {.size = sizeof answer, .status = 503};
        a->mp->http_answer(http, &answer);
        return;
    }
    *c = (struct call){.api = a, .mp = a->mp, .http = http, .q = q, .shard = shard, .out = a->mp->out_new(a->self)};
    if (!c->out) {
        call_error(c, MP_CODE_UNAVAILABLE, 0, "out of memory");
        return;
    }
    if (!may(c)) {
        call_error(c, MP_CODE_UNAUTHORIZED, 0, "the API needs a key, as \"Authorization: Bearer KEY\"");
        return;
    }
    if (q->body.n && q->body.p[blanks(q->body)] != '{')
        why = "expected {";
    if (q->body.n && (why || !(c->body = a->mp->json_parse(q->body, &why)))) {
        char text[160];
        snprintf(text, sizeof text, "the body is not a JSON object: %s", why ? why : "out of memory");
        call_error(c, MP_CODE_BAD_REQUEST, 0, text);
        return;
    }
    find_endpoint(c);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static const struct mp_option options[] = {
    {.name = "path",
     .type = MP_OPT_TEXT,
     .min = 1,
     .max = 100,
     .flags = MP_OPT_F_RESTART,
     .fallback = "/api/v1",
     .help = "Where the endpoints begin."},
    {.name = "keys",
     .type = MP_OPT_TEXTS,
     .flags = MP_OPT_F_REQUIRED | MP_OPT_F_SECRET,
     .help = "Keys of 16 bytes or more; a caller shows one of them as \"Authorization: Bearer …\". Several, so that "
             "they can "
             "be changed in turn."},
    {.name = "body",
     .type = MP_OPT_SIZE,
     .min = 1024,
     .max = 1048576,
     .flags = MP_OPT_F_RESTART,
     .fallback = "65536",
     .help = "Bytes of a request's body at most."},
};

static void keys_free(void *value)
{
    struct keys *k = value;
    for (unsigned i = 0; k && i < k->count; i++) {
        explicit_bzero(k->list[i], strlen(k->list[i]));
        free(k->list[i]);
    }
    free(k);
}

/* NULL with a sentence. */
static struct keys *keys_new(const struct mp_api *mp, const mp_options *o, char *why, size_t why_size)
{
    struct keys *k = calloc(1, sizeof *k);
    const char *text;
    snprintf(why, why_size, "out of memory");
    for (unsigned i = 0; k && (text = mp->option_item(o, "keys", i)); i++) {
        bool good = i < KEYS_MAX && strlen(text) >= 16 && mp_bearer_good(text);
        if (!good)
            snprintf(why, why_size,
                     i == KEYS_MAX       ? "keys: at most %u"
                     : strlen(text) < 16 ? "keys[%u]: expected 16 bytes or more"
                                         : "keys[%u]: expected no control characters, and no blanks at its ends",
                     i < KEYS_MAX ? i + 1 : KEYS_MAX);
        if (!good || !(k->list[k->count] = strdup(text))) {
            keys_free(k);
            return NULL;
        }
        k->count++;
    }
    if (k && !k->count) {
        snprintf(why, why_size, "keys: expected one key at least");
        keys_free(k);
        return NULL;
    }
    return k;
}

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    struct api *a = state;
    const char *path = mp->option_text(o, "path");
    if (path[0] != '/' || path[strlen(path) - 1] == '/' || strpbrk(path, "*?#%")) {
        snprintf(why, why_size, "path: expected \"/something\", without a slash at its end");
        return MP_EINVALID;
    }
    struct keys *k = keys_new(mp, o, why, why_size);
    if (!k)
        return MP_EINVALID;
    if (!a) {
        keys_free(k);
        return MP_OK;
    }
    snprintf(why, why_size, "out of memory");
    return mp->current_prepare(a->keys, k);
}

static void apply(void *state, const mp_options *o)
{
    struct api *a = state;
    (void)o;
    a->mp->current_commit(a->keys); /* what check() prepared */
}

static void fini(void *state)
{
    free(state);
}

static int register_all(struct api *a, const mp_options *o)
{
    const struct mp_api *mp = a->mp;
    char path[128];
    snprintf(path, sizeof path, "%s/*", mp->option_text(o, "path"));
    const struct mp_metric requests = {.size = sizeof requests,
                                       .name = "magpie_http_api_requests_total",
                                       .help = "Requests to the HTTP API.",
                                       .kind = MP_COUNTER},
                           errors = {.size = sizeof errors,
                                     .name = "magpie_http_api_errors_total",
                                     .help = "Requests to the HTTP API that were answered with an error.",
                                     .kind = MP_COUNTER};
    const struct mp_route route = {.size = sizeof route,
                                   .path = path,
                                   .body_max = (uint32_t)mp->option_number(o, "body"),
                                   .handle = on_request,
                                   .ctx = a,
                                   .flags = MP_ROUTE_F_ANY_HOST}; /* every request needs a key */
    int rc = a->requests = mp->metric(a->self, &requests);
    if (rc >= 0)
        rc = a->errors = mp->metric(a->self, &errors);
    return rc < 0 ? rc : mp->route(a->self, &route);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    char why[160];
    struct api *a = calloc(1, sizeof *a);
    if (!a)
        return MP_ENOMEM;
    a->self = self;
    a->mp = mp;
    a->keys = mp->current_new(self, keys_free);
    struct keys *k = a->keys ? keys_new(mp, o, why, sizeof why) : NULL;
    int rc = !a->keys ? MP_ENOMEM : k ? mp->current_prepare(a->keys, k) : MP_EINVALID;
    if (rc == MP_OK) {
        mp->current_commit(a->keys);
        rc = register_all(a, o);
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
             .name = "http_api",
             .version = "1.0",
             .summary = "A REST interface for other servers",
             .check = check,
             .init = init,
             .apply = apply,
             .fini = fini};
