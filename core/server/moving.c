#include "core/server/moving.h"

#include "core/base/buf.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/config/config.h"
#include "core/config/config_options.h"
#include "core/server/settings.h"
#include "storage/dump.h"
#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fail(const char *why)
{
    fprintf(stderr, "magpied: %s\n", why);
    return 1;
}

/* The config's store. NULL: standard error has the reasons. The options borrow from the config. */
static struct config *begin(const char *config_path, struct store_options *options)
{
    struct buf errors = BUF_INIT;
    struct config *c = config_load(config_path, &errors);
    if (!c)
        fwrite(errors.p ? errors.p : "", 1, errors.n, stderr);
    buf_free(&errors);
    if (!c)
        return NULL;
    (void)log_open(NULL, LOG_TEXT, LOG_WARN);
    hash_init();
    config_store_options(c, options);
    return c;
}

/* "magpied: 3 users, 5 messages VERB FILE". */
static void tell(const uint64_t counts[DUMP_KINDS], const char *verb, const char *file)
{
    const char *lead = "magpied: ";
    for (unsigned k = DUMP_USER; k < DUMP_END; k++) {
        if (!counts[k])
            continue;
        fprintf(stderr, "%s%llu %s", lead, (unsigned long long)counts[k], dump_kind_name((enum dump_kind)k));
        lead = ", ";
    }
    fprintf(stderr, "%s%s %s\n", *lead == ',' ? " " : "magpied: nothing ", verb,
            strcmp(file, "-") != 0              ? file
            : strncmp(verb, "exported", 8) == 0 ? "standard output"
                                                : "standard input");
}

/* --- Out ---------------------------------------------------------------------------------------------------------- */

static int export_to(const struct store_options *options, const char *file)
{
    char why[DUMP_WHY_MAX] = "";
    uint64_t counts[DUMP_KINDS] = {0};
    struct dump_writer *w;
    int r = dump_create(&w, file, why, sizeof why);
    if (r)
        return fail(why);
    r = store_export(options, w, why, sizeof why);
    if (!r || dump_failed(w))
        r = dump_finish(w, why, sizeof why);
    for (unsigned k = 1; k < DUMP_END; k++)
        counts[k] = dump_written(w, (enum dump_kind)k);
    dump_writer_free(w);
    if (r)
        return fail(why);
    tell(counts, "exported to", file);
    return 0;
}

int moving_export(const char *config_path, const char *file)
{
    struct store_options options;
    struct config *c = begin(config_path, &options);
    int status = c ? export_to(&options, file) : 1;
    config_free(c);
    return status;
}

/* --- In ----------------------------------------------------------------------------------------------------------- */

/* Reads a file through, and begins again. */
static int verify(struct dump_reader *in)
{
    struct dump_record record;
    int r;
    if (!dump_can_rewind(in))
        return 0;
    while ((r = dump_next(in, &record)) == 1)
        continue;
    return r ? r : dump_rewind(in);
}

/* Tokens go by a key that no export has. */
static void tell_secret(const struct config *c)
{
    const char *directory = settings_secret_directory(c);
    char path[4096];
    if (c->auth.secret || !directory)
        return;
    if (c->cluster.redis.n) {
        fputs(
            "magpied: set auth.secret to the text of the old server's file `secret`, or of what an old cluster has in "
            "Redis (docs/cluster.md), before the first node starts; else every token is refused\n",
            stderr);
        return;
    }
    snprintf(path, sizeof path, "%s/secret", directory);
    if (access(path, F_OK) != 0)
        fprintf(stderr,
                "magpied: there is no %s: copy it from the old data directory, or set auth.secret to it (of a cluster: "
                "to what Redis has, docs/cluster.md), before the server starts; else every token is refused\n",
                path);
}

static int import_from(const struct config *c, const struct store_options *options, const char *file)
{
    char why[DUMP_WHY_MAX] = "";
    uint64_t counts[DUMP_KINDS] = {0};
    struct dump_reader *in;
    int r = dump_open(&in, file, why, sizeof why);
    if (r)
        return fail(why);
    r = verify(in);
    if (r)
        snprintf(why, sizeof why, "%s", dump_error(in));
    else
        r = store_import(options, in, why, sizeof why);
    for (unsigned k = 1; k < DUMP_END; k++)
        counts[k] = dump_read(in, (enum dump_kind)k);
    dump_reader_free(in);
    if (r)
        return fail(why);
    tell(counts, "imported from", file);
    tell_secret(c);
    return 0;
}

/* Of what Redis had before nothing is left but the archive. */
static int heads_from(const struct store_options *options)
{
    char why[DUMP_WHY_MAX] = "";
    uint64_t n;
    if (store_heads(options, &n, why, sizeof why))
        return fail(why);
    fprintf(stderr, "magpied: %llu private conversations go on above what the archive has\n", (unsigned long long)n);
    return 0;
}

int moving_import(const char *config_path, const char *file)
{
    struct store_options options;
    struct config *c = begin(config_path, &options);
    int status = !c ? 1 : strcmp(file, MOVING_HEADS) == 0 ? heads_from(&options) : import_from(c, &options, file);
    config_free(c);
    return status;
}
