/* ABI area: values in force. A word, replaced by reloads and by `current set WORD`; a route tells it from any shard,
 * timers on each shard read it all the time, and works hold it. Whoever sees a word that was dropped counts it as bad.
 * */
#include "plugins/magpie_plugin.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { GOOD = 0x600d600d, WORKS_MAX = 4 };

struct word {
    atomic_uint magic; /* GOOD until it is dropped */
    char text[32];
};

static struct {
    mp_self *self;
    const struct mp_api *mp;
    mp_current *word;
    mp_held *held; /* by `current hold` */
    atomic_uint made, dropped, bad, works, held_works;
} current;

static const struct mp_option options[] = {
    {.name = "word", .type = MP_OPT_TEXT, .min = 1, .max = 31, .flags = MP_OPT_F_REQUIRED, .help = "The word."},
    {.name = "leak", .type = MP_OPT_BOOL, .help = "Never lets go of the word that was in force first."},
};

static struct word *word_new(struct mp_str text)
{
    struct word *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    atomic_init(&w->magic, GOOD);
    snprintf(w->text, sizeof w->text, "%.*s", (int)text.n, text.p);
    atomic_fetch_add(&current.made, 1);
    return w;
}

static void word_drop(void *value)
{
    struct word *w = value;
    if (atomic_exchange(&w->magic, 0) != GOOD)
        abort(); /* twice */
    atomic_fetch_add(&current.dropped, 1);
    free(w);
}

static void look(const struct word *w)
{
    if (atomic_load(&w->magic) != GOOD)
        atomic_fetch_add(&current.bad, 1);
}

static void on_worker(void *ctx)
{
    look(current.mp->held_value(ctx));
}

static void worked(mp_thread *here, void *ctx)
{
    (void)here;
    look(current.mp->held_value(ctx));
    current.mp->held_release(ctx);
    atomic_fetch_sub(&current.works, 1);
    atomic_fetch_add(&current.held_works, 1);
}

static void tick(mp_thread *here, void *ctx)
{
    const struct mp_api *mp = current.mp;
    (void)ctx;
    look(mp->current_get(current.word, here));
    if (atomic_fetch_add(&current.works, 1) < WORKS_MAX) {
        mp_held *h = mp->current_hold(current.word, here);
        if (mp->work(current.self, on_worker, here, worked, h) == MP_OK)
            return;
        mp->held_release(h);
    }
    atomic_fetch_sub(&current.works, 1);
}

static void tell(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    const struct word *w = current.mp->current_get(current.word, shard);
    (void)q, (void)ctx;
    look(w);
    struct mp_http_answer a = {.size = sizeof a, .status = 200, .content_type = "text/plain", .body = mp_str(w->text)};
    current.mp->http_answer(http, &a);
}

/* `current show`, `current set WORD`, `current hold`, `current release`: all tell how it stands. */
static void run(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    const struct mp_api *mp = current.mp;
    mp_thread *here = mp->main_thread(current.self);
    const char *what = ctx;
    if (argc && (mp->current_prepare(current.word, word_new(mp_str("never in force"))) != MP_OK ||
                 mp->current_prepare(current.word, word_new(argv[0])) != MP_OK)) {
        mp->command_fail(call, "internal", "out of memory");
        return;
    }
    if (argc)
        mp->current_commit(current.word);
    mp->current_commit(current.word); /* nothing is prepared */
    if (strcmp(what, "hold") == 0 && !current.held)
        current.held = mp->current_hold(current.word, here);
    mp_out *o = mp->command_out(call);
    mp->out_printf(o, "{\"word\":\"%s\",\"made\":%u,\"dropped\":%u,\"bad\":%u,\"works\":%u",
                   ((struct word *)mp->current_get(current.word, here))->text, atomic_load(&current.made),
                   atomic_load(&current.dropped), atomic_load(&current.bad), atomic_load(&current.held_works));
    if (current.held)
        mp->out_printf(o, ",\"held\":\"%s\",\"in_force\":%s", ((struct word *)mp->held_value(current.held))->text,
                       mp->held_in_force(current.held) ? "true" : "false");
    mp->out_put(o, mp_str("}"));
    if (strcmp(what, "release") == 0) {
        mp->held_release(current.held);
        current.held = NULL;
    }
    mp->command_done(call);
}

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    const char *text = mp->option_text(o, "word");
    if (strcmp(text, "bad") == 0) {
        snprintf(why, why_size, "word: may not be bad");
        return MP_EINVALID;
    }
    return state ? mp->current_prepare(current.word, word_new(mp_str(text))) : MP_OK;
}

static void apply(void *state, const mp_options *o)
{
    (void)state, (void)o;
    current.mp->current_commit(current.word);
}

static int shard_init(void *state, mp_thread *shard, void **shard_state)
{
    (void)state, (void)shard_state;
    return current.mp->timer(current.self, shard, 1, 1, tick, NULL, NULL);
}

static int register_all(void)
{
    static const char *const names[] = {"current show", "current set", "current hold", "current release"};
    const struct mp_route route = {.size = sizeof route, .method = "GET", .path = "/current", .handle = tell};
    int rc = current.mp->route(current.self, &route);
    for (unsigned i = 0; rc == MP_OK && i < sizeof names / sizeof names[0]; i++) {
        struct mp_command c = {
            .size = sizeof c, .name = names[i], .help = "values in force", .run = run, .ctx = (void *)(names[i] + 8)};
        c.min = c.max = i == 1;
        rc = current.mp->command(current.self, &c);
    }
    return rc;
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    current.self = self;
    current.mp = mp;
    current.held = NULL;
    atomic_store(&current.made, 0);
    atomic_store(&current.dropped, 0);
    *state = &current;
    current.word = mp->current_new(self, word_drop);
    if (!current.word || mp->current_get(current.word, mp->main_thread(self)) ||
        mp->current_hold(current.word, mp->main_thread(self)) || mp->current_new(self, NULL) ||
        mp->current_prepare(current.word, NULL) != MP_EINVALID)
        return MP_EINVALID;
    for (int i = 0; i < 2; i++) { /* the second one replaces the first before any shard has run */
        if (mp->current_prepare(current.word, word_new(mp_str(mp->option_text(o, "word")))) != MP_OK)
            return MP_ENOMEM;
        mp->current_commit(current.word);
        if (i == 0 && mp->option_bool(o, "leak"))
            (void)!mp->current_hold(current.word, mp->main_thread(self));
    }
    return register_all();
}

/* What was in force can still be read. */
static void fini(void *state)
{
    (void)state;
    look(current.mp->current_get(current.word, current.mp->main_thread(current.self)));
    if (current.held)
        current.mp->held_release(current.held);
}

MP_PLUGIN = {
    MP_PLUGIN_HEAD, MP_OPTIONS(options), .name = "current",        .version = "1", .summary = "test: values in force",
    .check = check, .init = init,        .shard_init = shard_init, .apply = apply, .fini = fini};
