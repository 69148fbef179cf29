-- Magpie's config. Every other option has its default: `magpied --defaults` prints them all with comments,
-- docs/configuration.md explains them. Check a change with `magpied -t -c FILE`, apply it with SIGHUP.
return {
    -- Only this machine can connect. For others: "*:8081", and auth.allow_open = true if anybody may come in.
    listen = {
        tcp = "127.0.0.1:8081",
        websocket = "127.0.0.1:8082",
        console = "127.0.0.1:8083", -- for operators
        -- proxy = { "127.0.0.1" }, -- proxies that say who their clients are: docs/operations.md, Behind a proxy
        -- metrics = "127.0.0.1:9464", -- where Prometheus reads, and nobody else
    },

    -- The database and the key of resume tokens.
    data = "data",

    log = { level = "info", format = "text" },

    -- Messages a second, of one user and in one conversation.
    rate = { user = 10, channel = 40, policy = "drop" },

    -- Policy in Lua, and extensions in C: docs/scripting.md, docs/plugins.md.
    scripts = { path = "scripts", load = { "ratelimit", "merge_push", "tiered_expiry" } },
    plugins = {
        path = "build/plugins",
        load = {
            web = {}, -- the chat page: http://127.0.0.1:8082/
            metrics = {}, -- figures for Prometheus, for this machine: http://127.0.0.1:8082/metrics
        },
    },

    -- How long messages are kept; ttl 0: for ever.
    tiers = {
        dm = { ttl = 0, max = 100000, durability = "sync" },
        small = { ttl = 90 * days, max = 10000, durability = "commit" },
        large = { ttl = 7 * days, max = 1000, durability = "commit", members = 500 },
    },
}
