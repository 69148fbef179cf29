/* json_parse(): never crashes; what it takes, cJSON prints and it takes again (but for numbers beyond 2^53 with a
 * fraction or an exponent, which cJSON may print as integers: those are refused). */
#include "core/base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

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
    struct cJSON *tree = json_parse(slice_of(data, size), &why);
    if (!tree) {
        if (!why)
            abort();
        return 0;
    }
    char *text = cJSON_PrintUnformatted(tree);
    struct cJSON *again = json_parse(slice_str(text), &why);
    if (again ? !cJSON_Compare(tree, again, 1) : !has_large(tree))
        abort();
    free(text);
    json_free(again);
    json_free(tree);
    return 0;
}
