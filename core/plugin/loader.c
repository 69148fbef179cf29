/* From a file to a description that can be trusted: dlopen, the one symbol, and everything that may be wrong with it,
 * in sentences for people. */
#include "core/plugin/loader.h"

#include "core/base/spelling.h"
#include "core/plugin/options.h"
#include "core/plugin/plugin_private.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Bytes of struct mp_plugin and struct mp_option by minor version of the ABI: a plugin of that version has exactly
 * these. */
static const struct {
    uint32_t plugin, option;
} sizes[] = {{sizeof(struct mp_plugin), sizeof(struct mp_option)},
             {sizeof(struct mp_plugin), sizeof(struct mp_option)},
             {sizeof(struct mp_plugin), sizeof(struct mp_option)},
             {sizeof(struct mp_plugin), sizeof(struct mp_option)},
             {sizeof(struct mp_plugin), sizeof(struct mp_option)}};
_Static_assert(sizeof sizes / sizeof sizes[0] == MP_ABI_MINOR + 1, "each minor version has its sizes");

static bool name_good(const char *s)
{
    return s && *s && strlen(s) <= 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(s);
}

/* The schema of a plugin is written by people too. */
static int check_schema(const struct mp_plugin *d, char *why, size_t why_size)
{
    for (unsigned i = 0; i < d->option_count; i++) {
        const struct mp_option *o = schema_at(d, i);
        const char *wrong = NULL;
        if (!o->name || !*o->name || strspn(o->name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(o->name))
            wrong = "its name is not made of a-z, 0-9 and _";
        else if ((unsigned)o->type > MP_OPT_ENUM)
            wrong = "its type is unknown";
        else if (o->type == MP_OPT_ENUM && (!o->choices || !o->choices[0]))
            wrong = "it has no choices";
        else if (!o->help || !*o->help)
            wrong = "it has no help";
        for (unsigned j = 0; !wrong && j < i; j++)
            if (strcmp(schema_at(d, j)->name, o->name) == 0)
                wrong = "it is there twice";
        if (wrong) {
            snprintf(why, why_size, "its option number %u (%s) is wrong: %s", i + 1,
                     o->name ? o->name : "without a name", wrong);
            return -1;
        }
    }
    return 0;
}

int image_check(const struct mp_plugin *d, const char *name, char *why, size_t why_size)
{
    if (d->abi_major != MP_ABI_MAJOR) {
        snprintf(why, why_size,
                 "it was built for plugin ABI %u.%u, and this server has %u.%u: build it anew with this server's "
                 "magpie_plugin.h",
                 d->abi_major, d->abi_minor, MP_ABI_MAJOR, MP_ABI_MINOR);
        return -1;
    }
    if (d->abi_minor > MP_ABI_MINOR) {
        snprintf(why, why_size,
                 "it was built for plugin ABI %u.%u, which is newer than this server's %u.%u: use a newer server, or "
                 "build the "
                 "plugin "
                 "with this server's magpie_plugin.h",
                 d->abi_major, d->abi_minor, MP_ABI_MAJOR, MP_ABI_MINOR);
        return -1;
    }
    if (d->size != sizes[d->abi_minor].plugin || (d->option_count && d->option_size != sizes[d->abi_minor].option)) {
        snprintf(why, why_size,
                 "its description has %u bytes and its options %u, but in plugin ABI %u.%u they have %u and %u: it was "
                 "built with a "
                 "changed header or for another kind of machine",
                 d->size, d->option_size, d->abi_major, d->abi_minor, sizes[d->abi_minor].plugin,
                 sizes[d->abi_minor].option);
        return -1;
    }
    if (!name_good(d->name) || strcmp(d->name, name) != 0) {
        snprintf(why, why_size, "it calls itself \"%.64s\": the file must be named after the plugin",
                 d->name ? d->name : "");
        return -1;
    }
    if (!d->version || !d->summary || !d->init || (d->option_count && !d->options)) {
        snprintf(why, why_size, "its description lacks %s",
                 !d->version   ? "a version"
                 : !d->summary ? "a summary"
                 : !d->init    ? "init()"
                               : "its options");
        return -1;
    }
    if (d->auth_mode && (strlen(d->auth_mode) > 31 || !name_good(d->auth_mode) || strcmp(d->auth_mode, "open") == 0 ||
                         strcmp(d->auth_mode, "script") == 0)) {
        snprintf(why, why_size, "its auth_mode \"%.31s\" is no name that it may provide", d->auth_mode);
        return -1;
    }
    return check_schema(d, why, why_size);
}

/* ", did you mean NAME?" when a file of the directory is near. */
static void put_near(const char *path, const char *name, char *out, size_t size)
{
    DIR *dir = opendir(path);
    unsigned best = spelling_limit(name) + 1;
    *out = '\0';
    for (const struct dirent *d = dir ? readdir(dir) : NULL; d; d = readdir(dir)) {
        char stem[65];
        size_t n = strlen(d->d_name);
        if (n < 4 || n > 67 || strcmp(d->d_name + n - 3, ".so") != 0)
            continue;
        snprintf(stem, sizeof stem, "%.*s", (int)n - 3, d->d_name);
        unsigned distance = spelling_distance(name, stem);
        if (distance < best) {
            best = distance;
            snprintf(out, size, "; did you mean %s?", stem);
        }
    }
    if (dir)
        closedir(dir);
}

const struct mp_plugin *image_open(const char *path, const char *name, char **file, char *why, size_t why_size)
{
    char *full = NULL;
    const struct mp_plugin *d = NULL;
    *file = NULL;
    if (asprintf(&full, "%s/%s.so", path, name) < 0) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    if (access(full, R_OK) != 0) {
        char near[96];
        put_near(path, name, near, sizeof near);
        snprintf(why, why_size, "there is no file %s that can be read (plugins.path is \"%s\")%s", full, path, near);
        goto out;
    }
    /* A relative name without a slash would be searched for elsewhere. */
    char *real = realpath(full, NULL);
    /* Code that has run stays mapped: a callback, a thread's exit or an atexit() of it may come later than it
     * should. */
    void *image = dlopen(real ? real : full, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    free(real);
    if (!image) {
        snprintf(why, why_size, "it cannot be loaded: %s", dlerror());
        goto out;
    }
    d = dlsym(image, "magpie_plugin");
    if (!d) {
        snprintf(
            why, why_size,
            "it exports no symbol magpie_plugin: it is no plugin of Magpie (or the symbol is hidden: use MP_PLUGIN)");
        dlclose(image);
    } else if (image_check(d, name, why, why_size) != 0) {
        d = NULL;
        dlclose(image);
    }
out:
    if (d)
        *file = full;
    else
        free(full);
    return d;
}
