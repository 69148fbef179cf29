/* A script's text, and JSON that a script reads and writes: whatever comes, the state survives. The first byte
 * chooses. */
#include "core/script/buckets.h"
#include "core/script/values.h"
#include "core/script/state.h"
#include "core/script/watchdog.h"
#include "core/script/world_fake.h"

#include <lauxlib.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read can be written, and reads as the same. */
static const char json_text[] = "local j = require('magpie').json\n"
                                "return function(text)\n"
                                "    local value, why = j.decode(text)\n"
                                "    if value == nil then assert(why) return end\n"
                                "    local ok, once = pcall(j.encode, value)\n"
                                "    if not ok then return end -- too long, written out\n"
                                "    assert(j.encode((j.decode(once))) ~= nil)\n"
                                "end\n";

static void try_json(struct state *st, struct slice text)
{
    if (luaL_loadstring(st->L, json_text) != 0 || lua_pcall(st->L, 0, 1, 0) != 0)
        abort();
    lua_pushlstring(st->L, text.p, text.n);
    if (state_call(st, 1, 0, LOAD_BUDGET_US, true) != 0 && !atomic_load(&st->stats->kills))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct watchdog *dog;
    static struct watched *watched;
    if (!dog) {
        dog = watchdog_new();
        watched = dog ? watchdog_watch(dog) : NULL;
    }
    if (size == 0 || !watched)
        return 0;
    struct fake_world world;
    struct script_stats stats = {0};
    fake_world_init(&world);
    struct script_env env = {.world = &world.world,
                             .watched = watched,
                             .kv = values_new(1, 1 << 16),
                             .shared = values_new(1, 1 << 16),
                             .buckets = buckets_new()};
    env.refunds = refunds_new(env.buckets);
    struct shard_set shard_set = {.env = &env, .budget_us = 5000, .memory_max = 4 << 20, .loading = true};
    struct state *st = state_new(&shard_set, "fuzz", &stats);
    struct slice text = slice_of(data + 1, size - 1);
    if (st && data[0] % 2)
        try_json(st, text);
    else if (st)
        (void)!state_load_within(st, "fuzz.lua", text, 20000);
    state_free(st);
    values_free(env.kv);
    values_free(env.shared);
    refunds_free(env.refunds);
    buckets_free(env.buckets);
    fake_world_fini(&world);
    return 0;
}
