/* The files that the plugin serves, as embed.cmake put them into it. */
#ifndef MAGPIE_PLUGIN_WEB_FILES_H
#define MAGPIE_PLUGIN_WEB_FILES_H

#include <stddef.h>

struct web_bytes {
    const char *p;
    size_t n; /* 0 and p NULL: there are none */
};

struct web_file {
    const char *path; /* below the plugin's, without a slash in front: "client/index.js" */
    struct web_bytes plain;
    struct web_bytes gzip;              /* the same gzipped, where that is smaller */
    const char *plain_etag, *gzip_etag; /* with their quotes */
};

extern const struct web_file web_files[];
extern const unsigned web_file_count;

#endif
