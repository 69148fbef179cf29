#include "core/config/config_value.h"

#include "core/config/config.h"
#include "core/config/config_schema.h"

int config_value(const struct config *c, const char *path, struct buf *out)
{
    const struct config_option *o = config_schema_find(path);
    if (!o || o->type == OPT_SECTION || o->type == OPT_PLUGINS || o->flags & OPT_F_SECRET)
        return ERR_NOTFOUND;
    const void *member = config_member_const(c, o);
    const struct config_strings *list = member;
    switch (o->type) {
    case OPT_COUNT:
        buf_dec(out, *(const uint32_t *)member);
        break;
    case OPT_SIZE:
        buf_dec(out, *(const uint64_t *)member);
        break;
    case OPT_SECONDS:
    case OPT_MS:
        buf_printf(out, "%.15g", *(const double *)member);
        break;
    case OPT_BOOL:
        buf_str(out, *(const bool *)member ? "true" : "false");
        break;
    case OPT_ENUM:
        buf_str(out, o->choices[*(const int *)member]);
        break;
    case OPT_TEXT:
        if (!*(char *const *)member)
            return ERR_NOTFOUND;
        buf_str(out, *(char *const *)member);
        break;
    default:
        for (uint32_t i = 0; i < list->n; i++)
            buf_printf(out, "%s%s", i ? "," : "", list->v[i]);
        break;
    }
    return 0;
}
