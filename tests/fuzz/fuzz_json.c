/* json_parse(): never crashes; what it takes, cJSON prints and it takes again (but for numbers beyond 2^53 with a
 * fraction or an exponent, which cJSON may print as integers: those are refused). */
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
