/* json_parse(): never crashes; what it takes, cJSON prints and it takes again. */
#include "core/base/json.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

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
    if (!again || !cJSON_Compare(tree, again, 1))
        abort();
    free(text);
    json_free(again);
    json_free(tree);
    return 0;
}
