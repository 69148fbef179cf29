/* json_parse(): never crashes; what it takes, cJSON prints and it takes again (but for numbers beyond 2^53 with a
 * fraction or an exponent, which cJSON may print as integers: those are refused). json_read() tells of the same values,
 * and of what is wrong with the same words. */
#include "core/base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Whether there is a number beyond 2^53 anywhere. */
static bool has_large(const struct cJSON *v)
{
    if (cJSON_IsNumber(v))
        return fabs(v->valuedouble) > 9007199254740991.0;
    for (const struct cJSON *child = v->child; child; child = child->next)
        if (has_large(child))
            return true;
    return false;
}

/* --- A tree made by a sink ---------------------------------------------------------------------------------------- */

struct maker {
    struct cJSON *root, *open[JSON_DEPTH];
    unsigned depth;
    char *key; /* of the next member; owned */
};

static char *text_of(struct slice raw)
{
    char *text = malloc(raw.n + 1);
    size_t n = json_unescape(raw, text);
    if (n > raw.n)
        abort();
    text[n] = '\0';
    return text;
}

static const char *add(struct maker *m, struct cJSON *value)
{
    if (!m->depth)
        m->root = value;
    else if (m->key)
        cJSON_AddItemToObject(m->open[m->depth - 1], m->key, value);
    else
        cJSON_AddItemToArray(m->open[m->depth - 1], value);
    free(m->key);
    m->key = NULL;
    return NULL;
}

static const char *on_open(void *ctx, bool object)
{
    struct maker *m = ctx;
    struct cJSON *v = object ? cJSON_CreateObject() : cJSON_CreateArray();
    add(m, v);
    m->open[m->depth++] = v;
    return NULL;
}

static const char *on_close(void *ctx, bool object)
{
    struct maker *m = ctx;
    if (!cJSON_IsObject(m->open[--m->depth]) == object)
        abort();
    return NULL;
}

static const char *on_key(void *ctx, struct slice raw)
{
    struct maker *m = ctx;
    m->key = text_of(raw);
    return cJSON_GetObjectItemCaseSensitive(m->open[m->depth - 1], m->key) ? "duplicate key" : NULL;
}

static const char *on_string(void *ctx, struct slice raw)
{
    char *text = text_of(raw);
    add(ctx, cJSON_CreateString(text));
    free(text);
    return NULL;
}

static const char *on_number(void *ctx, double value)
{
    return add(ctx, cJSON_CreateNumber(value));
}

static const char *on_word(void *ctx, char first)
{
    return add(ctx, first == 'n' ? cJSON_CreateNull() : cJSON_CreateBool(first == 't'));
}

/* tree: what json_parse() made of the text; NULL: `why` not. */
static void read_too(struct slice text, const struct cJSON *tree, const char *why)
{
    static const struct json_sink sink = {
        .open = on_open, .close = on_close, .key = on_key, .string = on_string, .number = on_number, .word = on_word};
    struct maker m = {.depth = 0};
    const char *why_not = json_read(text, &sink, &m);
    if (tree ? why_not || !cJSON_Compare(tree, m.root, 1) : !why_not)
        abort();
    /* A key that comes twice may be told before what is wrong behind it. */
    if (why_not && strcmp(why, why_not) != 0 && strcmp(why_not, "duplicate key") != 0 &&
        strcmp(why_not, "number out of range") != 0)
        abort();
    free(m.key);
    cJSON_Delete(m.root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why = NULL;
    uint16_t seq;
    struct json_verdict v;
    struct cJSON *open = json_parse_open(slice_of(data, size), JSON_DEPTH, &v), *tree;
    /* Where there is a tree that rounds nothing, the strict parser makes it too; and nothing is read of what is
     * none. */
    if ((open == NULL) != (v.why != NULL) || (open && v.json) || (open && v.rounded && !json_rounded(open)))
        abort();
    if (json_peek(slice_of(data, size), "seq", &seq) && !memmem(data, size, "\"seq\"", 5))
        abort();
    tree = json_parse(slice_of(data, size), &why);
    read_too(slice_of(data, size), tree, why);
    if (!tree) {
        if (!why || (open && !v.rounded))
            abort();
        json_free(open);
        return 0;
    }
    if (!open || v.rounded || !cJSON_Compare(tree, open, 1))
        abort();
    json_free(open);
    char *text = cJSON_PrintUnformatted(tree);
    struct cJSON *again = json_parse(slice_str(text), &why);
    if (again ? !cJSON_Compare(tree, again, 1) : !has_large(tree))
        abort();
    free(text);
    json_free(again);
    json_free(tree);
    return 0;
}
