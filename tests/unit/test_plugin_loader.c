/* Files and descriptions of plugins: what is taken, what is refused, and in which words. */
#include "tests/unit/plugin_kit.h"
#include "core/plugin/loader.h"

static void refused(const struct mp_plugin *d, const char *words)
{
    char why[512] = "";
    assert_int_equal(image_check(d, "kit", why, sizeof why), -1);
    if (!strstr(why, words))
        fail_msg("\"%s\" does not say \"%s\"", why, words);
}

static void descriptions(void **state)
{
    static const struct mp_option bad_name[] = {{.name = "Bad", .help = "x"}},
                                  bad_type[] = {{.name = "a", .type = (enum mp_option_type)99, .help = "x"}},
                                  no_choices[] = {{.name = "a", .type = MP_OPT_ENUM, .help = "x"}},
                                  no_help[] = {{.name = "a"}};
    const struct mp_option *const schemas[] = {bad_name, bad_type, no_choices, no_help};
    const char *const words[] = {"a-z", "type is unknown", "no choices", "no help"};
    struct mp_plugin d = kit_description();
    char why[512] = "";
    (void)state;
    assert_int_equal(image_check(&d, "kit", why, sizeof why), 0);
    assert_string_equal(why, "");
    d.abi_major = 0;
    refused(&d, "built for plugin ABI 0.4, and this server has 1.4");
    d = kit_description();
    for (d.abi_minor = 0; d.abi_minor <= MP_ABI_MINOR; d.abi_minor++) /* older ones are taken as they are */
        assert_int_equal(image_check(&d, "kit", why, sizeof why), 0);
    d.abi_minor = MP_ABI_MINOR + 1;
    refused(&d, "newer than this server's");
    d = kit_description();
    d.size += 8;
    refused(&d, "its description has");
    d = kit_description();
    d.option_count = 1;
    d.options = no_help;
    d.option_size--;
    refused(&d, "its options");
    d = kit_description();
    d.name = NULL;
    refused(&d, "calls itself \"\"");
    d.name = "kit2";
    refused(&d, "calls itself \"kit2\"");
    d = kit_description();
    d.version = NULL;
    refused(&d, "lacks a version");
    d = kit_description();
    d.summary = NULL;
    refused(&d, "lacks a summary");
    d = kit_description();
    d.init = NULL;
    refused(&d, "lacks init()");
    d = kit_description();
    d.option_count = 1;
    refused(&d, "lacks its options");
    d = kit_description();
    d.auth_mode = "open";
    refused(&d, "no name that it may provide");
    d = kit_description();
    d.option_count = 1;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        d.options = schemas[i];
        refused(&d, words[i]);
    }
}

static void files(void **state)
{
    static const struct {
        const char *name, *words; /* NULL: it is good */
    } cases[] = {
        {"hooks", NULL},
        {"values", NULL},
        {"wrong_symbol", "exports no symbol magpie_plugin"},
        {"wrong_undefined", "mp_of_another_world"},
        {"wrong_major", "build it anew with this server's magpie_plugin.h"},
        {"wrong_minor", "use a newer server"},
        {"wrong_size", "its description has"},
        {"wrong_name", "the file must be named after the plugin"},
        {"wrong_empty", "lacks init()"},
        {"wrong_schema", "it is there twice"},
        {"hoooks", "did you mean hooks?"},
    };
    char path[512];
    (void)state;
    kit_plugins(path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[1024] = "", *file = NULL;
        const struct mp_plugin *d = image_open(path, cases[i].name, &file, why, sizeof why);
        if (cases[i].words) {
            assert_null(d);
            assert_null(file);
            if (!strstr(why, cases[i].words))
                fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].name, why, cases[i].words);
        } else {
            assert_non_null(d);
            assert_string_equal(d->name, cases[i].name);
            free(file);
        }
    }
}

/* What plugins were built against stays: a change of these numbers is another ABI (and needs a line in loader.c). */
static void layout(void **state)
{
    (void)state;
    assert_int_equal(MP_ABI_MAJOR, 1);
    if (sizeof(void *) != 8)
        skip();
    assert_int_equal(sizeof(struct mp_plugin), 104);
    assert_int_equal(sizeof(struct mp_option), 56);
    assert_int_equal(sizeof(struct mp_message), 80);
    assert_int_equal(sizeof(struct mp_person), 32);
    assert_int_equal(sizeof(struct mp_field), 32);
    assert_int_equal(sizeof(struct mp_http_header), 16);
    assert_int_equal(sizeof(struct mp_ticket), 12);
    assert_int_equal(sizeof(struct mp_conn), 12);
    assert_int_equal(offsetof(struct mp_api, log), 16);
    assert_int_equal(offsetof(struct mp_api, out_str), 608);
    assert_int_equal(plugin_api.size, sizeof(struct mp_api));
    /* No function is missing. */
    for (size_t at = offsetof(struct mp_api, log); at < sizeof(struct mp_api); at += sizeof(void (*)(void))) {
        void *f;
        memcpy(&f, (const char *)&plugin_api + at, sizeof f);
        assert_non_null(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(descriptions), cmocka_unit_test(files),
                                       cmocka_unit_test(layout)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
