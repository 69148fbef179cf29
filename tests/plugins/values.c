/* ABI area: options of every type, check, apply, config, memory, JSON, texts. `values show` prints the options in
 * force. */
#include "plugins/magpie_plugin.h"

static struct {
    mp_self *self;
    const struct mp_api *mp;
    const mp_options *options; /* in force */
    unsigned applied;
} values;

static const char *const colours[] = {"red", "green", "blue", NULL};
static const struct mp_option options[] = {
    {.name = "text", .type = MP_OPT_TEXT, .min = 2, .help = "A text."},
    {.name = "list", .type = MP_OPT_TEXTS, .help = "Texts."},
    {.name = "colours", .type = MP_OPT_TEXTS, .choices = colours, .fallback = "red", .help = "Colours."},
    {.name = "number", .type = MP_OPT_NUMBER, .fallback = "-1.5", .help = "A number."},
    {.name = "count", .type = MP_OPT_COUNT, .min = 1, .max = 10, .fallback = "3", .help = "A count."},
    {.name = "size", .type = MP_OPT_SIZE, .fallback = "1024", .flags = MP_OPT_F_RESTART, .help = "A size."},
    {.name = "time", .type = MP_OPT_SECONDS, .fallback = "2.5", .help = "A time."},
    {.name = "wait_ms", .type = MP_OPT_MS, .help = "A time."},
    {.name = "on", .type = MP_OPT_BOOL, .fallback = "true", .help = "A switch."},
    {.name = "colour", .type = MP_OPT_ENUM, .choices = colours, .fallback = "green", .help = "A colour."},
    {.name = "key", .type = MP_OPT_TEXT, .min = 8, .flags = MP_OPT_F_SECRET, .help = "A secret."},
    {.name = "must", .type = MP_OPT_TEXT, .flags = MP_OPT_F_REQUIRED, .help = "Must be given."},
};

static void show(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    const struct mp_api *mp = values.mp;
    const mp_options *v = values.options;
    mp_out *o = mp->command_out(call);
    char content[32] = "";
    (void)argv, (void)argc, (void)ctx;
    mp->config(values.self, "limits.content", content, sizeof content);
    mp->out_put(o, mp_str("{\"text\":"));
    mp->out_json(o, mp_str(mp->option_text(v, "text")));
    mp->out_put(o, mp_str(",\"list\":["));
    for (unsigned i = 0; mp->option_item(v, "list", i); i++) {
        mp->out_put(o, mp_str(i ? "," : ""));
        mp->out_json(o, mp_str(mp->option_item(v, "list", i)));
    }
    mp->out_printf(o,
                   "],\"colours\":\"%s\",\"number\":%g,\"count\":%g,\"size\":%g,\"time\":%g,\"wait_ms\":%g,\"on\":%s,"
                   "\"colour\":\"%s\","
                   "\"content\":\"%s\",\"applied\":%u}",
                   mp->option_item(v, "colours", 0), mp->option_number(v, "number"), mp->option_number(v, "count"),
                   mp->option_number(v, "size"), mp->option_number(v, "time"), mp->option_number(v, "wait_ms"),
                   mp->option_bool(v, "on") ? "true" : "false", mp->option_text(v, "colour"), content, values.applied);
    mp->command_done(call);
}

/* The pieces that need no server to be checked; the number of the first that is wrong. */
static int self_test(mp_self *self, const struct mp_api *mp)
{
    const char *why = NULL;
    struct mp_str s;
    int64_t n = 0;
    bool b = false;
    char out[8], path[512];
    mp_json *j = mp->json_parse(mp_str("{\"a\":\"x\",\"n\":7,\"b\":true,\"l\":[1,\"two\"]}"), &why);
    if (!j || mp->json_text(j, "a", &s) != 1 || !mp_eq(s, mp_str("x")) || mp->json_int(j, "n", &n) != 1 || n != 7)
        return 1;
    if (mp->json_bool(j, "b", &b) != 1 || !b || mp->json_int(j, "a", &n) != MP_EINVALID ||
        mp->json_text(j, "none", &s) != 0)
        return 2;
    if (!mp->json_string(mp->json_at(mp->json_get(j, "l"), 1), &s) || !mp_eq(s, mp_str("two")) ||
        mp->json_at(mp->json_get(j, "l"), 2))
        return 3;
    mp->json_free(j);
    if (mp->json_parse(mp_str("{\"a\":1,\"a\":2}"), &why) || !why)
        return 4;
    j = mp->json_parse(mp_str("{\"large\":9007199254740993,\"n\":9007199254740991}"), NULL);
    if (!j || mp->json_int(j, "large", &n) != MP_EINVALID || mp->json_int(j, "n", &n) != 1 || n != 9007199254740991)
        return 15;
    mp->json_free(j);
    mp_out *o = mp->out_new(self);
    for (int i = 0; i < 100; i++)
        mp->out_printf(o, "%0100d", i); /* longer than what it formats on the stack, in sum */
    mp->out_printf(o, "%01000d", 1);
    if (mp->out_str(o).n != 11000)
        return 5;
    mp->out_reset(o);
    mp->out_json(o, mp_str("a\"b\n"));
    if (!mp_eq(mp->out_str(o), mp_str("\"a\\\"b\\n\"")))
        return 6;
    mp->out_free(o);
    if (mp->url_decode(mp_str("a%20b+%c3%a4"), out, sizeof out) != 6 || strcmp(out, "a b+\xc3\xa4") != 0)
        return 7;
    if (mp->url_decode(mp_str("%zz"), out, sizeof out) != MP_EINVALID ||
        mp->url_decode(mp_str("%00"), out, sizeof out) != MP_EINVALID ||
        mp->url_decode(mp_str("%c3"), out, sizeof out) != MP_EINVALID ||
        mp->url_decode(mp_str("12345678"), out, sizeof out) != MP_EFULL)
        return 8;
    unsigned char *p = mp->alloc(self, NULL, 10);
    if (!p || p[9] != 0)
        return 9;
    p[9] = 7;
    p = mp->alloc(self, p, 100000);
    if (!p || p[9] != 7 || mp->alloc(self, p, 0))
        return 10;
    if (mp->config(self, "auth.secret", path, sizeof path) != MP_ENOTFOUND ||
        mp->config(self, "auth.mode", path, sizeof path) != 4)
        return 11;
    return mp->data_dir(self, path, sizeof path) != MP_OK || mp->data_dir(self, path, 5) != MP_EFULL ||
                   mp->wall_ms() < 1000000
               ? 12
               : 0;
}

static int check(const struct mp_api *mp, void *state, const mp_options *v, char *why, size_t why_size)
{
    if (strcmp(mp->option_text(v, "must"), "never") != 0)
        return MP_OK;
    snprintf(why, why_size, "must: may not be \"never\"\nand that is all (%s)", state ? "running" : "not running");
    return MP_EINVALID;
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *v, void **state)
{
    struct mp_command c = {.size = sizeof c, .name = "values show", .help = "the options in force", .run = show};
    values.self = self;
    values.mp = mp;
    values.options = v;
    values.applied = 0;
    *state = &values;
    int wrong = self_test(self, mp);
    if (wrong) {
        struct mp_field f = mp_field_int("part", wrong);
        mp->log(self, MP_ERROR, "self_test", &f, 1);
        return MP_EINVALID;
    }
    return mp->command(self, &c);
}

static void apply(void *state, const mp_options *v)
{
    (void)state;
    values.options = v;
    values.applied++;
}

MP_PLUGIN = {
    MP_PLUGIN_HEAD, MP_OPTIONS(options), .name = "values", .version = "1", .summary = "test: options and texts",
    .check = check, .init = init,        .apply = apply};
