/* filter: forbidden words in messages are masked, or the message is refused. The list is reloaded with the config, or
 * by `filter reload`. */
#include "matcher.h"
#include "plugins/magpie_plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a message is measured by. Immutable once in force. */
struct rules {
    struct matcher *matcher; /* owned */
    char *file;              /* of the list; NULL: none; owned */
    char **words;            /* of the option `words`; NULL-terminated; NULL: none; owned */
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
    mp_current *rules;    /* struct rules */
    int masked, rejected; /* metrics */
};

/* A shard's own. */
struct local {
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

static void rules_free(void *value)
{
    struct rules *r = value;
    if (!r)
        return;
    for (unsigned i = 0; r->words && r->words[i]; i++)
        free(r->words[i]);
    free(r->words);
    free(r->file);
    matcher_free(r->matcher);
    free(r);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* The lines of a list. NULL, or what is wrong, static, with the number of the line. */
static const char *read_lines(struct matcher_builder *b, FILE *f, unsigned *number)
{
    char *line = NULL;
    size_t cap = 0;
    const char *wrong = NULL;
    for (ssize_t got; !wrong && (got = getline(&line, &cap, f)) > 0;) {
        const char *text = line;
        size_t n = (size_t)got - (line[got - 1] == '\n');
        if (++*number == 1 && n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
            text += 3, n -= 3;
        if (n && *text != '#' && matcher_add(b, text, n, &wrong) == 0)
            wrong = NULL;
    }
    if (!wrong && !feof(f))
        wrong = "it cannot be read";
    free(line);
    return wrong;
}

/* 0; else negative with a sentence. A pipe would hang the server. */
static int read_file(struct matcher_builder *b, const char *path, char *why, size_t why_size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool plain = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    FILE *f = plain ? fdopen(fd, "r") : NULL;
    if (!f) {
        snprintf(why, why_size, "file: %s: %s", path, fd >= 0 && !plain ? "is no plain file" : strerror(errno));
        if (fd >= 0)
            close(fd);
        return MP_EIO;
    }
    unsigned number = 0;
    const char *wrong = read_lines(b, f, &number);
    fclose(f);
    if (!wrong)
        return MP_OK;
    snprintf(why, why_size, "file: %s:%u: %s", path, number, wrong);
    return MP_EINVALID;
}

/* The matcher of the words and of the file, whose names the rules have; NULL with a sentence. */
static struct matcher *read_words(const struct rules *r, char *why, size_t why_size)
{
    struct matcher_builder *b = matcher_begin();
    const char *wrong = NULL;
    snprintf(why, why_size, "out of memory");
    if (!b)
        return NULL;
    for (unsigned i = 0; r->words && r->words[i]; i++) {
        if (matcher_add(b, r->words[i], strlen(r->words[i]), &wrong) != 0) {
            snprintf(why, why_size, "words[%u]: %s", i + 1, wrong);
            matcher_abandon(b);
            return NULL;
        }
    }
    if (r->file && read_file(b, r->file, why, why_size) != MP_OK) {
        matcher_abandon(b);
        return NULL;
    }
    return matcher_end(b);
}

/* Appends a copy to a NULL-terminated list. False: out of memory. */
static bool add_word(char ***list, unsigned *n, const char *word)
{
    char **more = realloc(*list, (*n + 2) * sizeof *more);
    if (!more)
        return false;
    *list = more;
    more[*n] = strdup(word);
    more[*n + 1] = NULL;
    return more[(*n)++] != NULL;
}

/* One character that somebody sees. */
static bool one_character(const char *text)
{
    int32_t c;
    size_t size = fold_decode(text, strlen(text), &c);
    return size && size == strlen(text) && !fold_invisible(c);
}

/* r, with its words read; or NULL with a sentence, r being freed. good: there was memory so far. */
static struct rules *finish(struct rules *r, bool good, char *why, size_t why_size)
{
    snprintf(why, why_size, "out of memory");
    if (good && (r->matcher = read_words(r, why, why_size)))
        return r;
    rules_free(r);
    return NULL;
}

/* Everything that the options say; NULL with a sentence in `why`. */
static struct rules *rules_new(const struct mp_api *mp, const mp_options *o, char *why, size_t why_size)
{
    const char *mask = mp->option_text(o, "mask");
    if (!one_character(mask)) {
        snprintf(why, why_size, "mask: expected one character that can be seen");
        return NULL;
    }
    const char *message = mp->option_text(o, "message");
    if (strlen(message) >= sizeof((struct rules *)0)->message) {
        snprintf(why, why_size, "message: expected 95 bytes at most, found %zu", strlen(message));
        return NULL;
    }
    struct rules *r = calloc(1, sizeof *r);
    bool good = r != NULL;
    if (r) {
        const char *file = mp->option_text(o, "file"), *word;
        r->reject = strcmp(mp->option_text(o, "mode"), "reject") == 0;
        r->whole = mp->option_bool(o, "whole_words");
        r->private = mp->option_bool(o, "private");
        r->mask_n = strlen(mask);
        memcpy(r->mask, mask, r->mask_n);
        memcpy(r->message, message, strlen(message) + 1);
        good = !file || (r->file = strdup(file));
        for (unsigned n = 0; good && (word = mp->option_item(o, "words", n));)
            good = add_word(&r->words, &n, word);
    }
    return finish(r, good, why, why_size);
}

/* The same options with the file read anew; NULL with a sentence in `why`. */
static struct rules *rules_again(const struct rules *before, char *why, size_t why_size)
{
    struct rules *r = malloc(sizeof *r);
    bool good = r != NULL;
    if (r) {
        *r = *before;
        r->matcher = NULL;
        r->words = NULL;
        r->file = before->file ? strdup(before->file) : NULL;
        good = !before->file || r->file;
        for (unsigned n = 0; good && before->words && before->words[n];)
            good = add_word(&r->words, &n, before->words[n]);
    }
    return finish(r, good, why, why_size);
}

/* --- A message ---------------------------------------------------------------------------------------------------- */

/* Each character of the stretches becomes the mask. */
static struct mp_str masked(struct filter *f, struct local *l, const struct rules *r, struct mp_str content,
                            size_t found)
{
    const struct mp_api *mp = f->mp;
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
    const struct rules *r = mp->current_get(f->rules, e->shard);
    if (!e->channel.n && !r->private)
        return MP_PASS;
    long found = matcher_search(r->matcher, &l->scratch, e->content.p, e->content.n, r->whole);
    if (found == 0)
        return MP_PASS;
    if (found < 0)
        return mp->reject(e, MP_CODE_INTERNAL, "out of memory", 0);
    if (!r->reject) {
        struct mp_str text = masked(f, l, r, e->content, (size_t)found);
        if (text.p && mp->set_content(e, text) == MP_OK) {
            mp->count(f->self, e->shard, f->masked, 1);
            return MP_PASS;
        }
        /* The mask may be longer than what it hides: then the message no longer fits, and must not pass as it is. */
    }
    mp->count(f->self, e->shard, f->rejected, 1);
    return mp->reject(e, MP_CODE_FORBIDDEN, r->message, 0);
}

/* --- New rules ---------------------------------------------------------------------------------------------------- */

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    struct filter *f = state;
    struct rules *r = rules_new(mp, o, why, why_size);
    if (!r)
        return MP_EINVALID;
    if (!f) {
        rules_free(r);
        return MP_OK;
    }
    snprintf(why, why_size, "out of memory");
    return mp->current_prepare(f->rules, r);
}

static void apply(void *state, const mp_options *o)
{
    struct filter *f = state;
    (void)o;
    f->mp->current_commit(f->rules); /* what check() prepared */
}

static const struct rules *rules_in_force(struct filter *f)
{
    return f->mp->current_get(f->rules, f->mp->main_thread(f->self));
}

/* --- The console -------------------------------------------------------------------------------------------------- */

static void run_reload(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct filter *f = ctx;
    char why[256];
    (void)argv, (void)argc;
    struct rules *r = rules_again(rules_in_force(f), why, sizeof why);
    if (!r) {
        f->mp->command_fail(call, "bad_request", why);
        return;
    }
    if (f->mp->current_prepare(f->rules, r) != MP_OK) {
        f->mp->command_fail(call, "unavailable", "out of memory: the list before stays");
        return;
    }
    f->mp->current_commit(f->rules);
    mp_out *out = f->mp->command_out(call);
    f->mp->out_printf(out, "{\"words\":%zu,\"memory\":%zu}", matcher_words(r->matcher), matcher_memory(r->matcher));
    f->mp->command_done(call);
}

static void run_test(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct filter *f = ctx;
    const struct mp_api *mp = f->mp;
    const struct rules *r = rules_in_force(f);
    struct local l = {.out = NULL};
    (void)argc;
    long found = matcher_search(r->matcher, &l.scratch, argv[0].p, argv[0].n, r->whole);
    struct mp_str text = found > 0 ? masked(f, &l, r, argv[0], (size_t)found) : argv[0];
    mp_out *out = mp->command_out(call);
    mp->out_printf(out, "{\"found\":%ld,\"verdict\":\"%s\",\"masked\":", found,
                   found <= 0  ? "pass"
                   : r->reject ? "reject"
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
    free(state);
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
    f->rules = mp->current_new(self, rules_free);
    struct rules *r = f->rules ? rules_new(mp, o, why, sizeof why) : NULL;
    int rc = !f->rules ? MP_ENOMEM : r ? mp->current_prepare(f->rules, r) : MP_EINVALID;
    if (rc < 0) {
        struct mp_field field = mp_field_text("error", mp_str(why));
        mp->log(self, MP_ERROR, "failed", &field, 1);
    } else {
        mp->current_commit(f->rules);
        rc = register_all(f);
    }
    if (rc < 0) {
        fini(f);
        return rc;
    }
    struct mp_field count = mp_field_int("words", (int64_t)matcher_words(r->matcher));
    mp->log(self, MP_INFO, "ready", &count, 1);
    *state = f;
    return MP_OK;
}

static int shard_init(void *state, mp_thread *shard, void **shard_state)
{
    struct local *l = calloc(1, sizeof *l);
    (void)state, (void)shard;
    if (!l)
        return MP_ENOMEM;
    *shard_state = l;
    return MP_OK;
}

static void shard_fini(void *state, mp_thread *shard, void *shard_state)
{
    struct filter *f = state;
    struct local *l = shard_state;
    (void)shard;
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
