/* filter: forbidden words in messages are masked, or the message is refused. The list is reloaded with the config, or
 * by `filter reload`. */
#include "matcher.h"
#include "plugins/magpie_plugin.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { LINE_MAX_BYTES = 4096 };

/* What a message is measured by. Immutable; each shard holds a reference, and the main thread one. */
struct rules {
    _Atomic unsigned users;
    struct matcher *matcher; /* owned */
    bool reject;             /* else mask */
    bool whole;              /* words, not parts of words */
    bool private;            /* private messages too */
    char mask[8];            /* one character, UTF-8 */
    size_t mask_n;
    char message[96]; /* of a refusal */
};

struct filter {
    mp_self *self;
    const struct mp_api *mp;
    struct rules *rules;  /* newest; main thread */
    char *file;           /* of the list; NULL: none; owned; main thread */
    char **words;         /* of the option `words`; NULL-terminated; owned; main thread */
    int masked, rejected; /* metrics */
};

/* A shard's own. */
struct local {
    struct rules *rules; /* in force here; a reference */
    struct matcher_scratch scratch;
    mp_out *out; /* the masked message; made when it is first needed */
};

static const struct mp_option options[] = {
    {.name = "file",
     .type = MP_OPT_TEXT,
     .help = "A file with one word or phrase a line, UTF-8; lines that begin with # are comments."},
    {.name = "words", .type = MP_OPT_TEXTS, .help = "Words, beside those of the file."},
    {.name = "mode",
     .type = MP_OPT_ENUM,
     .choices = (const char *const[]){"mask", "reject", NULL},
     .fallback = "mask",
     .help = "What happens to a message with such a word."},
    {.name = "mask",
     .type = MP_OPT_TEXT,
     .min = 1,
     .max = 4,
     .fallback = "*",
     .help = "The character that stands for each one of a masked word."},
    {.name = "whole_words",
     .type = MP_OPT_BOOL,
     .fallback = "true",
     .help = "Words only, not parts of longer words. Scripts without blanks need false."},
    {.name = "private", .type = MP_OPT_BOOL, .fallback = "true", .help = "Private messages too."},
    {.name = "message",
     .type = MP_OPT_TEXT,
     .max = 95,
     .min = 1,
     .fallback = "the message holds a word that is not allowed here",
     .help = "What the sender of a refused message is told."},
};

static void rules_drop(struct rules *r)
{
    if (r && atomic_fetch_sub(&r->users, 1) == 1) {
        matcher_free(r->matcher);
        free(r);
    }
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static int read_file(struct matcher_builder *b, const char *path, char *why, size_t why_size)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        snprintf(why, why_size, "file: %s: %s", path, strerror(errno));
        return MP_EIO;
    }
    char line[LINE_MAX_BYTES];
    unsigned number = 0;
    const char *wrong = NULL;
    while (!wrong && fgets(line, sizeof line, f)) {
        size_t n = strlen(line);
        number++;
        if (n + 1 == sizeof line && line[n - 1] != '\n') {
            wrong = "the line is too long";
            break;
        }
        if (n && line[n - 1] == '\n')
            n--;
        if (n == 0 || line[0] == '#')
            continue;
        const char *text = line;
        if (number == 1 && n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
            text += 3, n -= 3;
        (void)!matcher_add(b, text, n, &wrong);
    }
    if (!wrong && ferror(f))
        wrong = "it cannot be read";
    fclose(f);
    if (!wrong)
        return MP_OK;
    snprintf(why, why_size, "file: %s:%u: %s", path, number, wrong);
    return MP_EINVALID;
}

static struct matcher *read_words(const char *file, char *const *words, char *why, size_t why_size)
{
    struct matcher_builder *b = matcher_begin();
    const char *wrong = NULL;
    snprintf(why, why_size, "out of memory");
    if (!b)
        return NULL;
    for (unsigned i = 0; words && words[i]; i++) {
        if (matcher_add(b, words[i], strlen(words[i]), &wrong) != 0) {
            snprintf(why, why_size, "words[%u]: %s", i + 1, wrong);
            matcher_abandon(b);
            return NULL;
        }
    }
    if (file && read_file(b, file, why, why_size) != MP_OK) {
        matcher_abandon(b);
        return NULL;
    }
    return matcher_end(b);
}

static void free_words(char **words)
{
    for (unsigned i = 0; words && words[i]; i++)
        free(words[i]);
    free(words);
}

/* NULL: out of memory. */
static char **copy_words(const struct mp_api *mp, const mp_options *o)
{
    unsigned n = 0;
    while (mp->option_item(o, "words", n))
        n++;
    char **list = calloc(n + 1, sizeof *list);
    for (unsigned i = 0; list && i < n; i++) {
        if (!(list[i] = strdup(mp->option_item(o, "words", i)))) {
            free_words(list);
            return NULL;
        }
    }
    return list;
}

static bool one_character(const char *text)
{
    size_t n = 0;
    for (const char *p = text; *p; p++)
        n += ((unsigned char)*p & 0xc0) != 0x80;
    return n == 1 && (unsigned char)text[0] >= ' ' && text[0] != 0x7f;
}

/* Everything that the options say; NULL with a sentence in `why`. */
static struct rules *rules_new(const struct mp_api *mp, const mp_options *o, char *const *words, char *why,
                               size_t why_size)
{
    const char *mask = mp->option_text(o, "mask");
    if (!one_character(mask)) {
        snprintf(why, why_size, "mask: expected one character");
        return NULL;
    }
    struct matcher *m = read_words(mp->option_text(o, "file"), words, why, why_size);
    struct rules *r = m ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        matcher_free(m);
        return NULL;
    }
    atomic_init(&r->users, 1);
    r->matcher = m;
    r->reject = strcmp(mp->option_text(o, "mode"), "reject") == 0;
    r->whole = mp->option_bool(o, "whole_words");
    r->private = mp->option_bool(o, "private");
    r->mask_n = strlen(mask);
    memcpy(r->mask, mask, r->mask_n);
    snprintf(r->message, sizeof r->message, "%s", mp->option_text(o, "message"));
    return r;
}

/* --- A message ---------------------------------------------------------------------------------------------------- */

/* Each character of the stretches becomes the mask. */
static struct mp_str masked(struct filter *f, struct local *l, struct mp_str content, size_t found)
{
    const struct mp_api *mp = f->mp;
    const struct rules *r = l->rules;
    size_t at = 0;
    if (!l->out && !(l->out = mp->out_new(f->self)))
        return mp_str_of(NULL, 0);
    mp->out_reset(l->out);
    for (size_t i = 0; i < found; i++) {
        const struct match *m = &l->scratch.found[i];
        mp->out_put(l->out, mp_str_of(content.p + at, m->from - at));
        for (size_t k = m->from; k < m->to; k++)
            if (((unsigned char)content.p[k] & 0xc0) != 0x80)
                mp->out_put(l->out, mp_str_of(r->mask, r->mask_n));
        at = m->to;
    }
    mp->out_put(l->out, mp_str_of(content.p + at, content.n - at));
    return mp->out_str(l->out);
}

static enum mp_verdict on_message(struct mp_event *e, void *ctx)
{
    struct filter *f = ctx;
    const struct mp_api *mp = f->mp;
    struct local *l = mp->local(f->self, e->shard);
    if (!e->channel.n && !l->rules->private)
        return MP_PASS;
    long found = matcher_search(l->rules->matcher, &l->scratch, e->content.p, e->content.n, l->rules->whole);
    if (found == 0)
        return MP_PASS;
    if (found < 0)
        return mp->reject(e, MP_CODE_INTERNAL, "out of memory", 0);
    if (!l->rules->reject) {
        struct mp_str text = masked(f, l, e->content, (size_t)found);
        if (text.p && mp->set_content(e, text) == MP_OK) {
            mp->count(f->self, e->shard, f->masked, 1);
            return MP_PASS;
        }
        /* The mask may be longer than what it hides: then the message no longer fits, and must not pass as it is. */
    }
    mp->count(f->self, e->shard, f->rejected, 1);
    return mp->reject(e, MP_CODE_FORBIDDEN, l->rules->message, 0);
}

/* --- New rules ---------------------------------------------------------------------------------------------------- */

struct change {
    struct filter *f;
    struct rules *rules; /* a reference, which the shard takes over */
};

static void take_rules(mp_thread *here, void *ctx)
{
    struct change *c = ctx;
    struct local *l = c->f->mp->local(c->f->self, here);
    rules_drop(l->rules);
    l->rules = c->rules;
    free(c);
}

/* Takes over the caller's reference. False: a shard that there was no memory for keeps the old ones. */
static bool spread(struct filter *f, struct rules *r)
{
    bool all = true;
    for (unsigned i = 0; i < f->mp->shard_count(f->self); i++) {
        struct change *c = malloc(sizeof *c);
        if (c) {
            *c = (struct change){f, r};
            atomic_fetch_add(&r->users, 1);
            if (f->mp->post(f->self, f->mp->shard(f->self, i), take_rules, c) == MP_OK)
                continue;
            atomic_fetch_sub(&r->users, 1);
        }
        free(c);
        all = false;
    }
    rules_drop(f->rules);
    f->rules = r;
    return all;
}

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    (void)state;
    char **words = copy_words(mp, o);
    struct rules *r = words ? rules_new(mp, o, words, why, why_size) : NULL;
    if (!words)
        snprintf(why, why_size, "out of memory");
    free_words(words);
    bool good = r != NULL;
    rules_drop(r);
    return good ? MP_OK : MP_EINVALID;
}

static void remember(struct filter *f, const mp_options *o, char **words)
{
    const char *file = f->mp->option_text(o, "file");
    free(f->file);
    f->file = file ? strdup(file) : NULL;
    free_words(f->words);
    f->words = words;
}

static void apply(void *state, const mp_options *o)
{
    struct filter *f = state;
    char why[256] = "out of memory";
    char **words = copy_words(f->mp, o);
    struct rules *r = words ? rules_new(f->mp, o, words, why, sizeof why) : NULL;
    if (!r) {
        /* The file has changed since check(): what was in force stays. */
        struct mp_field field = mp_field_text("error", mp_str(why));
        f->mp->log(f->self, MP_ERROR, "kept", &field, 1);
        free_words(words);
        return;
    }
    remember(f, o, words);
    (void)spread(f, r);
}

/* --- The console -------------------------------------------------------------------------------------------------- */

static void run_reload(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct filter *f = ctx;
    char why[256];
    (void)argv, (void)argc;
    struct matcher *m = read_words(f->file, f->words, why, sizeof why);
    struct rules *r = m ? malloc(sizeof *r) : NULL;
    if (!r) {
        matcher_free(m);
        f->mp->command_fail(call, "bad_request", why);
        return;
    }
    memcpy(r, f->rules, sizeof *r);
    atomic_init(&r->users, 1);
    r->matcher = m;
    mp_out *out = f->mp->command_out(call);
    f->mp->out_printf(out, "{\"words\":%zu,\"memory\":%zu}", matcher_words(m), matcher_memory(m));
    if (spread(f, r))
        f->mp->command_done(call);
    else
        f->mp->command_fail(call, "unavailable", "out of memory: some shards keep the list before");
}

static void run_test(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct filter *f = ctx;
    const struct mp_api *mp = f->mp;
    struct local l = {.rules = f->rules};
    (void)argc;
    long found = matcher_search(f->rules->matcher, &l.scratch, argv[0].p, argv[0].n, f->rules->whole);
    struct mp_str text = found > 0 ? masked(f, &l, argv[0], (size_t)found) : argv[0];
    mp_out *out = mp->command_out(call);
    mp->out_printf(out, "{\"found\":%ld,\"verdict\":\"%s\",\"masked\":", found,
                   found <= 0         ? "pass"
                   : f->rules->reject ? "reject"
                                      : "mask");
    mp->out_json(out, text);
    mp->out_put(out, mp_str("}"));
    if (l.out)
        mp->out_free(l.out);
    matcher_scratch_free(&l.scratch);
    mp->command_done(call);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static void fini(void *state)
{
    struct filter *f = state;
    rules_drop(f->rules);
    free(f->file);
    free_words(f->words);
    free(f);
}

static int register_all(struct filter *f)
{
    const struct mp_api *mp = f->mp;
    const struct mp_metric masked_metric = {.size = sizeof masked_metric,
                                            .name = "magpie_filter_masked_total",
                                            .help = "Messages in which words were masked.",
                                            .kind = MP_COUNTER},
                           rejected_metric = {.size = sizeof rejected_metric,
                                              .name = "magpie_filter_rejected_total",
                                              .help = "Messages refused for a forbidden word.",
                                              .kind = MP_COUNTER};
    const struct mp_command reload = {.size = sizeof reload,
                                      .name = "filter reload",
                                      .help = "reads the list of words anew",
                                      .changes = true,
                                      .run = run_reload,
                                      .ctx = f},
                            test = {.size = sizeof test,
                                    .name = "filter test",
                                    .args = "TEXT",
                                    .help = "tells what would happen to a message",
                                    .min = 1,
                                    .max = 1,
                                    .run = run_test,
                                    .ctx = f};
    /* After policies that would refuse the message anyhow (rate limits have priority 0). */
    const struct mp_hook hook = {
        .size = sizeof hook, .event = MP_ON_MESSAGE, .priority = -10, .fn = on_message, .ctx = f};
    int rc = f->masked = mp->metric(f->self, &masked_metric);
    if (rc >= 0)
        rc = f->rejected = mp->metric(f->self, &rejected_metric);
    if (rc >= 0)
        rc = mp->command(f->self, &reload);
    if (rc >= 0)
        rc = mp->command(f->self, &test);
    return rc < 0 ? rc : mp->hook(f->self, &hook);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    char why[256] = "out of memory";
    struct filter *f = calloc(1, sizeof *f);
    if (!f)
        return MP_ENOMEM;
    f->self = self;
    f->mp = mp;
    char **words = copy_words(mp, o);
    f->rules = words ? rules_new(mp, o, words, why, sizeof why) : NULL;
    if (words)
        remember(f, o, words);
    int rc = f->rules ? register_all(f) : MP_EINVALID;
    if (rc < 0) {
        struct mp_field field = mp_field_text("error", mp_str(why));
        if (!f->rules)
            mp->log(self, MP_ERROR, "failed", &field, 1);
        fini(f);
        return rc;
    }
    struct mp_field count = mp_field_int("words", (int64_t)matcher_words(f->rules->matcher));
    mp->log(self, MP_INFO, "ready", &count, 1);
    *state = f;
    return MP_OK;
}

static int shard_init(void *state, mp_thread *shard, void **shard_state)
{
    struct filter *f = state;
    struct local *l = calloc(1, sizeof *l);
    (void)shard;
    if (!l)
        return MP_ENOMEM;
    l->rules = f->rules;
    atomic_fetch_add(&l->rules->users, 1);
    *shard_state = l;
    return MP_OK;
}

static void shard_fini(void *state, mp_thread *shard, void *shard_state)
{
    struct filter *f = state;
    struct local *l = shard_state;
    (void)shard;
    rules_drop(l->rules);
    matcher_scratch_free(&l->scratch);
    if (l->out)
        f->mp->out_free(l->out);
    free(l);
}

MP_PLUGIN = {MP_PLUGIN_HEAD,
             MP_OPTIONS(options),
             .name = "filter",
             .version = "1.0",
             .summary = "Masks forbidden words, or refuses messages that hold them",
             .check = check,
             .init = init,
             .shard_init = shard_init,
             .shard_fini = shard_fini,
             .apply = apply,
             .fini = fini};
