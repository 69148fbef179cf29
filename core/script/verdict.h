/* What a hook returns: made by magpie.reject(), accept(), drop(), push{}, tier() and keep{}; immutable, so that a
 * script may make one while it loads and return it for ever after. */
#ifndef MAGPIE_SCRIPT_VERDICT_H
#define MAGPIE_SCRIPT_VERDICT_H

#include "core/hub/registry/code.h"
#include "core/hub/registry/hook.h"
#include "storage/store.h"

#include <lua.h>
#include <stdint.h>

enum verdict_kind { VERDICT_ACCEPT, VERDICT_REJECT, VERDICT_DROP, VERDICT_PUSH, VERDICT_TIER, VERDICT_KEEP };

/* The only full userdata that scripts can get hold of. */
struct verdict {
    uint32_t magic;
    enum verdict_kind kind;
    union {
        struct {
            uint8_t id_len, name_len; /* 0: absent */
            bool has_claims;          /* verdict_claims() */
            char id[64], name[64];
        } accept;
        struct {
            enum code code;
            uint32_t retry_after_ms;
            char message[96];
        } reject;
        struct hook_advice advice; /* VERDICT_PUSH, TIER, KEEP */
    };
};

/* The verdict at this place of the stack; NULL: something else. */
const struct verdict *verdict_at(lua_State *L, int index);
/* The claims of an accept: a JSON object, NUL-terminated, which stands behind the struct. */
static inline const char *verdict_claims(const struct verdict *v)
{
    return (const char *)(v + 1);
}
/* "a verdict", "a table": for errors. */
const char *verdict_describe(lua_State *L, int index);
/* reject, accept, drop, tier, keep into the table at the top. */
void verdicts_open(lua_State *L);
/* magpie.push{…}, with the table at 1. */
int verdict_push(lua_State *L);

#endif
