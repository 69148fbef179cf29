/*
 * The dashboard at /admin: a page, and orders of the console by HTTP for those who have given its password. Requests
 * come on shards and are served on the main thread, where sessions and the console are.
 */
#include "plugins/web/admin.h"

#include "plugins/web/session.h"

#include <stdlib.h>

enum { BODY_MAX = 16 << 10, WORDS_MAX = 18, COOKIE_ROOM = 160 };

struct admin {
    struct web *web; /* borrowed */
    struct sessions sessions;
};

/* The session that a request comes with, on whichever node it is. */
struct seen {
    unsigned node;               /* another one that has it; 0: this one */
    unsigned number;             /* for the log; 0: there is none */
    char token[SESSION_SECRET];  /* of the page's scripts */
    char digest[SESSION_SECRET]; /* of its cookie, with a node */
};

/* A request on its way to the main thread, and from there to the console and back. */
struct ask {
    struct admin *admin;
    mp_http *http; /* valid until it is answered, and `q` with it */
    const struct mp_http_request *q;
    mp_json *body; /* owned; an object, of a POST */
    struct seen seen;
};

/* What is asked of the node that has a session, with the digest of its cookie behind it; answered with "NUMBER TOKEN",
 * or nothing: it is over. */
enum { ASK_FIND = 'F', ASK_END = 'E', ASK_MS = 2000 };

/* Files of the chat page that the dashboard uses as they are. */
static const char *const shared_files[] = {"style.css", "dom.js", "icon.svg"};

/* What may be ordered from here: looking, and what an operator does to users, channels and messages. What makes
 * secrets, writes files, changes the config or ends the server is for the console. */
static const char *const allowed[] = {
    "announce",        "ban ip",
    "ban user",        "channel",
    "history channel", "history user",
    "kick connection", "kick user",
    "list actions",    "list bans",
    "list channels",   "list connections",
    "list hooks",      "list plugins",
    "list scripts",    "list slow",
    "list users",      "log tail",
    "mute user",       "recall channel",
    "recall user",     "script disable",
    "script enable",   "script list",
    "script reload",   "show channel",
    "show connection", "show memory",
    "show storage",    "show user",
    "status",          "top",
    "unban ip",        "unban user",
    "unmute user",     "user delete",
    "version",         "why",
};

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void ask_free(struct ask *k)
{
    if (k->body)
        k->admin->web->mp->json_free(k->body);
    explicit_bzero(&k->seen, sizeof k->seen);
    free(k);
}

/* cookie: of Set-Cookie; NULL: none. Frees the request. */
static void answer(struct ask *k, unsigned status, const char *type, struct mp_str body, const char *cookie)
{
    const struct mp_http_header headers[] = {{"Cache-Control", "no-store"}, {"Set-Cookie", cookie}};
    struct mp_http_answer a = {.size = sizeof a,
                               .status = status,
                               .content_type = type,
                               .headers = headers,
                               .header_count = cookie ? 2 : 1,
                               .body = body};
    k->admin->web->mp->http_answer(k->http, &a);
    ask_free(k);
}

static void answer_json(struct ask *k, unsigned status, struct mp_str body, const char *cookie)
{
    answer(k, status, "application/json", body, cookie);
}

static void answer_text(struct ask *k, unsigned status, const char *text)
{
    answer(k, status, "text/plain; charset=utf-8", mp_str(text), NULL);
}

/* code, message: an error for scripts; `message` has no quotes. */
static void answer_error(struct ask *k, unsigned status, const char *code, const char *message)
{
    char text[256];
    snprintf(text, sizeof text, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", code, message);
    answer_json(k, status, mp_str(text), NULL);
}

/* Who it is, for the log. */
static void log_who(const struct ask *k, enum mp_level level, const char *event)
{
    const struct seen *s = &k->seen;
    const struct mp_field fields[] = {mp_field_text("ip", k->q->ip), mp_field_int("session", s->number),
                                      mp_field_int("node", s->node)};
    k->admin->web->mp->log(k->admin->web->self, level, event, fields, !s->number ? 1 : !s->node ? 2 : 3);
}

/* The node that has the session, which may have ended meanwhile, is asked again by whoever asks. */
static void answer_silent(struct ask *k)
{
    answer_error(k, 503, "unavailable", "the node that has this session does not answer now");
}

/* --- Sessions ----------------------------------------------------------------------------------------------------- */

static struct session *find_here(const struct ask *k)
{
    struct admin *a = k->admin;
    const struct mp_api *mp = a->web->mp;
    a->sessions.node = mp->node(a->web->self);
    return session_find(&a->sessions, mp->http_header(k->http, "Cookie"), mp->console_password(a->web->self),
                        mp->mono_ms());
}

/* Asks the node that has the session. False: that one lives no more, and so does none of its sessions; else `done`
 * comes, or the request is answered. */
static bool ask_owner(struct ask *k, char what, mp_node_answers_fn done)
{
    const struct web *w = k->admin->web;
    char body[1 + SESSION_SECRET];
    snprintf(body, sizeof body, "%c%s", what, k->seen.digest);
    int rc = w->mp->node_ask(w->self, k->seen.node, mp_str(body), ASK_MS, done, k);
    if (rc == MP_ENOTFOUND)
        return false;
    if (rc != MP_OK)
        answer_silent(k);
    return true;
}

/* Another node asks for a session of this one. */
static void asked(mp_thread *here, struct mp_str body, mp_out *answer, void *ctx)
{
    struct admin *a = ctx;
    const struct mp_api *mp = a->web->mp;
    char what = body.n ? body.p[0] : '\0';
    (void)here;
    if (what != ASK_FIND && what != ASK_END)
        return;
    struct session *s = session_find_digest(&a->sessions, mp_str_of(body.p + 1, body.n - 1),
                                            mp->console_password(a->web->self), mp->mono_ms());
    if (!s)
        return;
    if (what == ASK_FIND)
        mp->out_printf(answer, "%u %s", s->number, s->token);
    else
        session_end(s);
}

/* What the node that has it says of the session. False: it says nothing that makes sense, as of one that is over. */
static bool read_seen(struct seen *out, struct mp_str text)
{
    char copy[16 + SESSION_SECRET], token[SESSION_SECRET];
    snprintf(copy, sizeof copy, "%.*s", (int)(text.n < sizeof copy ? text.n : sizeof copy), text.p);
    bool good = sscanf(copy, "%9u %64s", &out->number, token) == 2 && strlen(token) == sizeof token - 1;
    if (good)
        memcpy(out->token, token, sizeof token);
    else
        out->number = 0;
    explicit_bzero(copy, sizeof copy);
    explicit_bzero(token, sizeof token);
    return good;
}

/* --- Logging in and out ------------------------------------------------------------------------------------------- */

/* Without Path a browser sends it to this folder alone, wherever a proxy has put it. */
static void put_cookie(char out[COOKIE_ROOM], const struct ask *k, const char *value, const char *more)
{
    snprintf(out, COOKIE_ROOM, SESSION_COOKIE "=%s; HttpOnly; SameSite=Strict%s%s", value,
             k->q->secure ? "; Secure" : "", more);
}

static void see(struct ask *k, const struct session *s)
{
    k->seen = (struct seen){.number = s ? s->number : 0};
    if (s)
        memcpy(k->seen.token, s->token, sizeof s->token);
}

static void answer_session(struct ask *k, const char *cookie)
{
    char text[128];
    if (k->seen.number)
        snprintf(text, sizeof text, "{\"token\":\"%s\"}", k->seen.token);
    else
        snprintf(text, sizeof text, "{\"token\":null}");
    answer_json(k, 200, mp_str(text), cookie);
    explicit_bzero(text, sizeof text);
}

static void log_in(struct ask *k)
{
    struct admin *a = k->admin;
    const struct mp_api *mp = a->web->mp;
    struct mp_str password;
    char cookie[COOKIE_ROOM];
    if (mp->json_text(k->body, "password", &password) != 1) {
        answer_error(k, 400, "bad_request", "password: expected a string");
        return;
    }
    switch (mp->console_login(a->web->self, k->q->ip, password)) {
    case MP_CODE_OK:
        break;
    case MP_CODE_RATE_LIMITED:
        answer_error(k, 429, "rate_limited", "too many wrong passwords; wait a minute");
        return;
    default:
        answer_error(k, 401, "unauthorized", "wrong password");
        return;
    }
    a->sessions.node = mp->node(a->web->self);
    struct session *s = session_new(&a->sessions, mp->console_password(a->web->self), mp->mono_ms());
    if (!s) {
        answer_error(k, 503, "unavailable", "the system has no randomness now");
        return;
    }
    see(k, s);
    log_who(k, MP_INFO, "admin_in");
    put_cookie(cookie, k, s->name, "");
    answer_session(k, cookie);
    explicit_bzero(cookie, sizeof cookie);
}

static void logged_out(struct ask *k)
{
    char cookie[COOKIE_ROOM];
    log_who(k, MP_INFO, "admin_out");
    k->seen.number = 0;
    put_cookie(cookie, k, "", "; Max-Age=0");
    answer_session(k, cookie);
}

static void ended_there(mp_thread *here, const struct mp_node_answer *answers, size_t n, void *ctx)
{
    struct ask *k = ctx;
    (void)here;
    if (n && answers[0].given)
        logged_out(k);
    else
        answer_silent(k);
}

static void log_out(struct ask *k)
{
    if (k->seen.node) {
        if (!ask_owner(k, ASK_END, ended_there))
            logged_out(k);
        return;
    }
    struct session *s = find_here(k);
    if (s)
        session_end(s);
    logged_out(k);
}

/* --- Orders ------------------------------------------------------------------------------------------------------- */

static void ordered(mp_thread *here, const struct mp_console_result *r, void *ctx)
{
    struct ask *k = ctx;
    const struct mp_api *mp = k->admin->web->mp;
    mp_out *o = mp->out_new(k->admin->web->self);
    (void)here;
    if (!o) {
        answer_error(k, 503, "unavailable", "out of memory");
        return;
    }
    /* A refused order is a good answer to a good request: its status is 200. */
    if (r->code) {
        mp->out_put(o, mp_str("{\"error\":{\"code\":"));
        mp->out_json(o, mp_str(r->code));
        mp->out_put(o, mp_str(",\"message\":"));
        mp->out_json(o, mp_str(r->message));
        mp->out_put(o, mp_str("}}"));
    } else {
        mp->out_put(o, mp_str("{\"answer\":"));
        mp->out_put(o, r->json);
        mp->out_put(o, mp_str("}"));
    }
    struct mp_str text = mp->out_str(o);
    if (text.p)
        answer_json(k, 200, text, NULL);
    else
        answer_error(k, 503, "unavailable", "out of memory");
    mp->out_free(o);
}

/* Whether the words begin with the name of an allowed command. */
static bool is_allowed(const struct mp_str *words, unsigned n)
{
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        const char *blank = strchr(allowed[i], ' ');
        size_t first = blank ? (size_t)(blank - allowed[i]) : strlen(allowed[i]);
        if (mp_eq(words[0], mp_str_of(allowed[i], first)) && (!blank || (n > 1 && mp_eq(words[1], mp_str(blank + 1)))))
            return true;
    }
    return false;
}

/* The texts of `words` in the body; 0: they are none, or too many. */
static unsigned take_words(const struct ask *k, struct mp_str *words)
{
    const struct mp_api *mp = k->admin->web->mp;
    const mp_json *list = mp->json_get(k->body, "words"), *one;
    unsigned n = 0;
    for (; (one = mp->json_at(list, n)); n++)
        if (n == WORDS_MAX || !mp->json_string(one, &words[n]))
            return 0;
    return n;
}

static void run(struct ask *k)
{
    const struct mp_api *mp = k->admin->web->mp;
    struct mp_str words[WORDS_MAX];
    unsigned n = take_words(k, words);
    char who[96];
    if (n == 0) {
        answer_error(k, 400, "bad_request", "words: expected a list of 1 to 18 strings");
        return;
    }
    if (!is_allowed(words, n)) {
        answer_error(k, 403, "forbidden", "this order is for the console");
        return;
    }
    mp_out *line = mp->out_new(k->admin->web->self);
    /* Quoted as at the console: what is in a word never becomes another one. */
    for (unsigned i = 0; line && i < n; i++) {
        mp->out_put(line, mp_str(i ? " " : ""));
        mp->out_json(line, words[i]);
    }
    int at = snprintf(who, sizeof who, "%.*s session %u", (int)k->q->ip.n, k->q->ip.p, k->seen.number);
    if (k->seen.node && at > 0 && (size_t)at < sizeof who)
        snprintf(who + at, sizeof who - (size_t)at, " of node %u", k->seen.node);
    int rc = line ? mp->console_run(k->admin->web->self, mp->out_str(line), mp_str(who), ordered, k) : MP_ENOMEM;
    if (line)
        mp->out_free(line);
    if (rc != MP_OK)
        answer_error(k, 503, "unavailable", "the server cannot do that now");
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

/* NULL: the request comes from the page itself. Else why not. */
static const char *forged(const struct ask *k)
{
    const struct mp_api *mp = k->admin->web->mp;
    struct mp_str type = mp->http_header(k->http, "Content-Type");
    static const char json[] = "application/json";
    if (type.n < sizeof json - 1 || memcmp(type.p, json, sizeof json - 1) != 0)
        return "expected Content-Type: application/json";
    if (!session_same_site(mp->http_header(k->http, "Sec-Fetch-Site"), mp->http_header(k->http, "Origin"), k->q->host))
        return "another site's page may not ask for this";
    return NULL;
}

/* It is known who asks. */
static void serve_known(struct ask *k)
{
    const struct mp_api *mp = k->admin->web->mp;
    struct mp_str what = k->q->rest;
    if (mp_eq(what, mp_str("session")))
        answer_session(k, NULL);
    else if (!k->seen.number)
        answer_error(k, 401, "unauthorized", "log in first");
    else if (!mp_same_secret(mp_str(k->seen.token), mp->http_header(k->http, "X-Magpie-Token")))
        answer_error(k, 403, "forbidden", "the token of the session is missing, or wrong");
    else if (mp_eq(what, mp_str("logout")))
        log_out(k);
    else if (mp_eq(what, mp_str("run")))
        run(k);
    else
        answer_error(k, 404, "not_found", "there is no such thing");
}

static void found_there(mp_thread *here, const struct mp_node_answer *answers, size_t n, void *ctx)
{
    struct ask *k = ctx;
    (void)here;
    if (!n || !answers[0].given) {
        answer_silent(k);
        return;
    }
    if (!read_seen(&k->seen, answers[0].body))
        k->seen.node = 0;
    serve_known(k);
}

static void serve_api(struct ask *k)
{
    struct admin *a = k->admin;
    const struct mp_api *mp = a->web->mp;
    const char *why = forged(k);
    if (why) {
        log_who(k, MP_WARN, "admin_forged");
        answer_error(k, 403, "forbidden", why);
        return;
    }
    k->body = mp->json_parse(k->q->body, NULL);
    if (!k->body) {
        answer_error(k, 400, "bad_request", "the body is no JSON");
        return;
    }
    if (mp_eq(k->q->rest, mp_str("login"))) {
        log_in(k);
        return;
    }
    struct session *s = find_here(k);
    see(k, s);
    if (!s)
        k->seen.node = session_elsewhere(&a->sessions, mp->http_header(k->http, "Cookie"), k->seen.digest);
    if (k->seen.node && ask_owner(k, ASK_FIND, found_there))
        return;
    k->seen.node = 0;
    serve_known(k);
}

static void serve_file(struct ask *k)
{
    const struct web *w = k->admin->web;
    struct mp_str rest = k->q->rest.n ? k->q->rest : mp_str("index.html");
    char path[128];
    snprintf(path, sizeof path, ADMIN_FOLDER "%.*s", (int)(rest.n < sizeof path ? rest.n : sizeof path), rest.p);
    const struct served *f = strlen(path) == rest.n + sizeof ADMIN_FOLDER - 1 ? web_find(w, mp_str(path)) : NULL;
    for (size_t i = 0; !f && i < sizeof shared_files / sizeof *shared_files; i++)
        if (mp_eq(rest, mp_str(shared_files[i])))
            f = web_find(w, rest);
    if (!f) {
        answer_text(k, 404, "there is no such page; the dashboard is at /admin/\n");
        return;
    }
    web_serve(w, k->http, f);
    ask_free(k);
}

static void serve(mp_thread *here, void *ctx)
{
    struct ask *k = ctx;
    uint64_t password = k->admin->web->mp->console_password(k->admin->web->self);
    bool post = mp_eq(k->q->method, mp_str("POST"));
    (void)here;
    if (!password)
        answer_text(k, 404,
                    "The dashboard is closed, because the console has no password.\n"
                    "Set console.password in the server's config to open it.\n");
    else if (!post)
        serve_file(k);
    else
        serve_api(k);
}

static void on_request(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    struct admin *a = ctx;
    const struct mp_api *mp = a->web->mp;
    struct ask *k = calloc(1, sizeof *k);
    (void)shard;
    if (k) {
        *k = (struct ask){.admin = a, .http = http, .q = q};
        if (mp->post(a->web->self, mp->main_thread(a->web->self), serve, k) == MP_OK)
            return;
        free(k);
    }
    const struct mp_http_answer busy = {.size = sizeof busy, .status = 503};
    mp->http_answer(http, &busy);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

int admin_open(struct web *w, double idle)
{
    struct admin *a = calloc(1, sizeof *a);
    if (!a)
        return MP_ENOMEM;
    a->web = w;
    a->sessions.idle_ms = (uint64_t)(idle * 1000);
    w->admin = a;
    const struct mp_route routes[] = {
        {.size = sizeof *routes, .method = "GET", .path = "/admin/*", .handle = on_request, .ctx = a},
        {.size = sizeof *routes,
         .method = "POST",
         .path = "/admin/api/*",
         .body_max = BODY_MAX,
         .handle = on_request,
         .ctx = a},
        {.size = sizeof *routes, .method = "GET", .path = "/admin", .handle = web_to_slash, .ctx = w},
    };
    int rc = w->mp->node_answerer(w->self, asked, a);
    for (size_t i = 0; rc == MP_OK && i < sizeof routes / sizeof *routes; i++)
        rc = w->mp->route(w->self, &routes[i]);
    return rc;
}

void admin_free(struct admin *a)
{
    if (a)
        explicit_bzero(a, sizeof *a);
    free(a);
}
