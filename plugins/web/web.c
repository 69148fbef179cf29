/* web: the chat page, the JavaScript client and the dashboard, on the WebSocket port. What there is to serve is a fixed
 * table, so that no path leads to anything else. */
#include "plugins/web/web.h"

#include "plugins/web/accept.h"
#include "plugins/web/admin.h"
#include "plugins/web/files.h"

#include <stdlib.h>

/* What is put for @TITLE@ in the files that are made at init. */
#define TITLE_MARK "@TITLE@"

/* Headers of an answer: those of every one, and how many there may be. */
enum { HEADERS_ALWAYS = 8, HEADERS = HEADERS_ALWAYS + 3 };

/* --- What kind of file -------------------------------------------------------------------------------------------- */

static const struct {
    const char *end, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".webmanifest", "application/manifest+json"},
};

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), w = strlen(with);
    return n >= w && strcmp(s + n - w, with) == 0;
}

static const char *type_of(const char *path)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (ends(path, types[i].end))
            return types[i].type;
    return "application/octet-stream";
}

/* --- The title ---------------------------------------------------------------------------------------------------- */

static void put_html(const struct mp_api *mp, mp_out *o, const char *s)
{
    for (; *s; s++)
        if (strchr("&<>\"'", *s))
            mp->out_printf(o, "&#%d;", *s);
        else
            mp->out_put(o, mp_str_of(s, 1));
}

/* For the inside of a JSON string: the quotes that out_json() makes are left out. */
static void put_json(mp_self *self, const struct mp_api *mp, mp_out *o, const char *s)
{
    mp_out *quoted = mp->out_new(self);
    if (!quoted)
        return;
    mp->out_json(quoted, mp_str(s));
    struct mp_str q = mp->out_str(quoted);
    if (q.n >= 2)
        mp->out_put(o, mp_str_of(q.p + 1, q.n - 2));
    mp->out_free(quoted);
}

/* FNV-1a: it only has to be another one when the file is. */
static uint64_t hash(struct mp_str s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    return h;
}

/* A copy of the file with the title in its places; it is served without compression. */
static int put_title(const struct web *w, struct served *f, const char *title)
{
    const struct mp_api *mp = w->mp;
    mp_out *o = mp->out_new(w->self);
    if (!o)
        return MP_ENOMEM;
    struct mp_str rest = mp_str_of(f->plain.p, f->plain.n);
    const char *at;
    while ((at = memmem(rest.p, rest.n, TITLE_MARK, sizeof TITLE_MARK - 1))) {
        size_t n = (size_t)(at - rest.p);
        mp->out_put(o, mp_str_of(rest.p, n));
        if (ends(f->path, ".html"))
            put_html(mp, o, title);
        else
            put_json(w->self, mp, o, title);
        n += sizeof TITLE_MARK - 1;
        rest = mp_str_of(rest.p + n, rest.n - n);
    }
    mp->out_put(o, rest);
    struct mp_str all = mp->out_str(o);
    f->made = all.p ? malloc(all.n + 1) : NULL;
    if (f->made) {
        memcpy(f->made, all.p, all.n);
        f->plain = (struct web_bytes){f->made, all.n};
        f->gzip = (struct web_bytes){NULL, 0};
        snprintf(f->made_etag, sizeof f->made_etag, "\"%016llx\"", (unsigned long long)hash(all));
        f->plain_etag = f->made_etag;
    }
    mp->out_free(o);
    return f->made ? MP_OK : MP_ENOMEM;
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

static void not_found(const struct web *w, mp_http *http)
{
    struct mp_http_answer a = {.size = sizeof a,
                               .status = 404,
                               .content_type = "text/plain; charset=utf-8",
                               .body = mp_str("there is no such page; the chat is at the top\n")};
    w->mp->http_answer(http, &a);
}

const struct served *web_find(const struct web *w, struct mp_str path)
{
    for (unsigned i = 0; i < web_file_count; i++)
        if (mp_eq(path, mp_str(w->files[i].path)))
            return &w->files[i];
    return NULL;
}

void web_serve(const struct web *w, mp_http *http, const struct served *f)
{
    /* no-cache: a browser asks each time whether it has the newest, so that a page never runs with another's modules */
    struct mp_http_header headers[HEADERS] = {
        {"ETag", f->plain_etag},
        {"Cache-Control", "no-cache"},
        {"Vary", "Accept-Encoding"},
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; "
         "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
         "require-trusted-types-for 'script'; trusted-types magpie"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
    };
    size_t n = HEADERS_ALWAYS;
    struct mp_http_answer a = {.size = sizeof a,
                               .status = 200,
                               .content_type = f->type,
                               .headers = headers,
                               .body = mp_str_of(f->plain.p, f->plain.n)};
    if (strncmp(f->path, "client/", 7) == 0) { /* pages of others may load it; who may connect, `origins` says */
        headers[n++] = (struct mp_http_header){"Cross-Origin-Resource-Policy", "cross-origin"};
        headers[n++] = (struct mp_http_header){"Access-Control-Allow-Origin", "*"};
    } else {
        headers[n++] = (struct mp_http_header){"Cross-Origin-Resource-Policy", "same-origin"};
    }
    bool gzip = f->gzip.n && accept_gzip(w->mp->http_header(http, "Accept-Encoding"));
    if (gzip)
        headers[0].value = f->gzip_etag;
    if (etag_listed(w->mp->http_header(http, "If-None-Match"), headers[0].value)) {
        a.status = 304;
        a.content_type = NULL;
        a.body = mp_str_of(NULL, 0);
    } else if (gzip) {
        headers[n++] = (struct mp_http_header){"Content-Encoding", "gzip"};
        a.body = mp_str_of(f->gzip.p, f->gzip.n);
    }
    a.header_count = n;
    w->mp->http_answer(http, &a);
}

static void on_request(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    const struct web *w = ctx;
    const struct served *f = web_find(w, q->rest.n ? q->rest : mp_str("index.html"));
    (void)shard;
    if (f && strncmp(f->path, ADMIN_FOLDER, sizeof ADMIN_FOLDER - 1) != 0)
        web_serve(w, http, f);
    else
        not_found(w, http);
}

/* "/chat" of a page at "/chat/": its files are named relative to it, so the slash matters. */
void web_to_slash(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    const struct web *w = ctx;
    char to[128];
    (void)shard;
    snprintf(to, sizeof to, "%.*s/", (int)q->path.n, q->path.p);
    const struct mp_http_header location = {"Location", to};
    struct mp_http_answer a = {.size = sizeof a, .status = 308, .headers = &location, .header_count = 1};
    w->mp->http_answer(http, &a);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static const struct mp_option options[] = {
    {.name = "path",
     .type = MP_OPT_TEXT,
     .min = 1,
     .max = 100,
     .flags = MP_OPT_F_RESTART,
     .fallback = "/",
     .help = "Where the page is: \"/\", or \"/something/\"."},
    {.name = "title",
     .type = MP_OPT_TEXT,
     .min = 1,
     .max = 60,
     .flags = MP_OPT_F_RESTART,
     .fallback = "Magpie",
     .help = "What the page calls the service."},
    {.name = "admin",
     .type = MP_OPT_BOOL,
     .flags = MP_OPT_F_RESTART,
     .fallback = "true",
     .help = "Whether there is a dashboard at /admin, for those who know console.password."},
    {.name = "admin_idle",
     .type = MP_OPT_SECONDS,
     .min = 1,
     .max = 86400,
     .flags = MP_OPT_F_RESTART,
     .fallback = "1800",
     .help = "Nobody looks at the dashboard for so long: it asks for the password again."},
};

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    const char *path = mp->option_text(o, "path");
    size_t n = strlen(path);
    (void)state;
    if (strcmp(path, "/admin/") == 0 && mp->option_bool(o, "admin")) {
        snprintf(why, why_size, "path: the dashboard is at \"/admin/\"; another path, or admin = false");
        return MP_EINVALID;
    }
    if (path[0] == '/' && path[n - 1] == '/' && !strpbrk(path, "*?#%\\\"<> \r\n") && !strstr(path, "//"))
        return MP_OK;
    snprintf(why, why_size, "path: expected \"/\", or \"/something/\" with a slash at both ends");
    return MP_EINVALID;
}

static void fini(void *state)
{
    struct web *w = state;
    admin_free(w->admin);
    for (unsigned i = 0; w->files && i < web_file_count; i++)
        free(w->files[i].made);
    free(w->files);
    free(w);
}

static int fill(struct web *w, const char *title)
{
    w->files = calloc(web_file_count, sizeof *w->files);
    if (!w->files)
        return MP_ENOMEM;
    for (unsigned i = 0; i < web_file_count; i++) {
        const struct web_file *from = &web_files[i];
        struct served *f = &w->files[i];
        *f = (struct served){.path = from->path,
                             .type = type_of(from->path),
                             .plain = from->plain,
                             .gzip = from->gzip,
                             .plain_etag = from->plain_etag,
                             .gzip_etag = from->gzip_etag};
        bool titled = ends(f->path, ".html") || ends(f->path, ".webmanifest");
        int rc = titled ? put_title(w, f, title) : MP_OK;
        if (rc != MP_OK)
            return rc;
    }
    return MP_OK;
}

static int register_routes(struct web *w, const char *path)
{
    char text[128];
    size_t n = strlen(path);
    snprintf(text, sizeof text, "%s*", path);
    struct mp_route route = {.size = sizeof route, .method = "GET", .path = text, .handle = on_request, .ctx = w};
    int rc = w->mp->route(w->self, &route);
    if (rc != MP_OK || n == 1)
        return rc;
    snprintf(text, sizeof text, "%.*s", (int)(n - 1), path);
    route.handle = web_to_slash;
    return w->mp->route(w->self, &route);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct web *w = calloc(1, sizeof *w);
    if (!w)
        return MP_ENOMEM;
    w->self = self;
    w->mp = mp;
    int rc = fill(w, mp->option_text(o, "title"));
    if (rc == MP_OK)
        rc = register_routes(w, mp->option_text(o, "path"));
    if (rc == MP_OK && mp->option_bool(o, "admin"))
        rc = admin_open(w, mp->option_number(o, "admin_idle"));
    if (rc != MP_OK) {
        fini(w);
        return rc;
    }
    *state = w;
    return MP_OK;
}

MP_PLUGIN = {MP_PLUGIN_HEAD,
             MP_OPTIONS(options),
             .name = "web",
             .version = "1.0",
             .summary = "The chat page, the JavaScript client, and the dashboard",
             .check = check,
             .init = init,
             .fini = fini};
