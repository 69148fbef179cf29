/* What the files of the plugin share: the files that it serves. */
#ifndef MAGPIE_PLUGIN_WEB_WEB_H
#define MAGPIE_PLUGIN_WEB_WEB_H

#include "plugins/magpie_plugin.h"
#include "plugins/web/files.h"

struct admin;

/* One path's answers. */
struct served {
    const char *path, *type;
    struct web_bytes plain, gzip;
    const char *plain_etag, *gzip_etag;
    char *made;         /* owned: `plain`, where the title was put into it; NULL: the embedded bytes */
    char made_etag[24]; /* plain_etag of such a file */
};

struct web {
    mp_self *self;
    const struct mp_api *mp;
    struct served *files; /* owned; web_file_count */
    struct admin *admin;  /* owned; NULL: there is no dashboard */
};

/* The file of that path in the table; NULL: there is none. Any thread, like all here. */
const struct served *web_find(const struct web *w, struct mp_str path);
/* Answers with the file, or that the browser has it already. */
void web_serve(const struct web *w, mp_http *http, const struct served *f);
/* A route (ctx: the struct web) that sends browsers from "/folder" to "/folder/". */
void web_to_slash(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx);

#endif
