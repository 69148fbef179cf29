-- Magpie 0.1.0: every option with its default. Durations are in seconds (minutes, hours, days are there to
-- multiply with), sizes in bytes (KiB, MiB, GiB), env("NAME", default) reads the environment.
-- (restart): a reload (SIGHUP) cannot change it.
return {

    -- Where to listen: an address, a list of addresses, or {} for none. An address is "IP:PORT",
    -- "[IPv6]:PORT", "*:PORT" or "unix:PATH".
    listen = {
        -- The protocol over plain TCP. (restart)
        tcp = "127.0.0.1:8081",
        -- The protocol over WebSocket. (restart)
        websocket = "127.0.0.1:8082",
        -- The protocol over TLS. Needs tls.certificate and tls.key. Not in this version yet. (restart)
        tcps = {},
        -- WebSocket over TLS. Needs tls.certificate and tls.key. Not in this version yet. (restart)
        wss = {},
        -- The console of operators. Other addresses than loopback and Unix sockets need console.password.
        -- (restart)
        console = "127.0.0.1:8083",
    },

    -- Certificate and key for listen.tcps and listen.wss. Not in this version yet.
    tls = {
        -- File with the certificate and its chain (PEM). (restart)
        certificate = nil,
        -- File with the private key (PEM). (restart)
        key = nil,
    },

    -- Shards: threads that serve connections. 0: one for each processor that the process may use. (restart)
    threads = 0,

    -- Number of this server, part of each message id. Different on each machine that shares clients.
    -- (restart)
    node = 0,

    -- Directory of the database and of the key of resume tokens. Relative to the working directory. (restart)
    data = "data",

    -- The database.
    storage = {
        -- "memory" keeps nothing over a restart: for tests. (restart)
        engine = "rocksdb",
        -- Write buffers, caches and indexes together. (restart)
        memory = 128*MiB,
        -- How often what is not synced yet is synced: the window that a power loss can take from tiers below
        -- "sync". (restart)
        sync_every = 1,
    },

    -- The log: one line an event, with a stable id and key=value pairs.
    log = {
        -- The least important level that is written.
        level = "info",
        -- For people or for machines.
        format = "text",
        -- File to append to; nil: standard error. SIGHUP opens it anew, for rotation.
        file = nil,
    },

    -- Who may log in.
    auth = {
        -- "open": whoever gives a name becomes a new user and gets a token to come back with. Anything else
        -- names a provider that a plugin registers ("jwt" of the plugin auth_jwt).
        mode = "open",
        -- The key of resume tokens, 16 bytes at least; changing it ends all sessions. nil: made once and kept
        -- in the file `secret` in the data directory, mode 0600.
        secret = nil,
        -- Allow mode "open" on an address that others than this machine can reach.
        allow_open = false,
    },

    -- Limits. 0: no limit, where the range allows it.
    limits = {
        -- Connections in all.
        connections = 1200000,
        -- Connections from one IP address.
        connections_per_ip = 0,
        -- A frame or WebSocket message from a client.
        frame = 64*KiB,
        -- The content of a message. With everything around it, it must fit in limits.frame; when only that is
        -- given and is small, this follows it.
        content = 16*KiB,
        -- A page of history or inbox, or a merged slice, from the server. One message always goes.
        page = 256*KiB,
        -- Channels that one user may be in.
        subscriptions = 1000,
        -- Channels in all.
        channels = 0,
        -- Output that waits for one slow connection. From half of it channel messages are skipped; when it is
        -- full, the connection is closed.
        output_queue = 1*MiB,
        -- Output that waits for all connections together; over it, channel messages are skipped.
        output_total = 0,
        -- Messages that wait in one inbox; the oldest are dropped first, and history keeps them.
        inbox = 10000,
        -- How long a clientId makes a repeated send harmless.
        dedup_window = 10*minutes,
        -- When a user who never came back is forgotten. 0: never.
        guest = 1*days,
        -- How long a sender may recall a message. 0: for ever.
        recall = 2*minutes,
    },

    -- Channels.
    channels = {
        -- Who may make a channel by subscribing to it: any user, whom a script allows, or none.
        create = "any",
    },

    -- Timeouts, in seconds. 0: none, where the range allows it.
    timeouts = {
        -- From connect to login.
        login = 10,
        -- Silence after which a connection is closed: WebSocket, and TCP once it has sent a ping.
        idle = 300,
        -- How long SIGTERM lets clients and requests finish. 0: as long as it takes.
        drain = 30,
    },

    -- Compression of what the server sends. Not in this version yet.
    compression = {
        -- Smaller bodies go as they are.
        threshold = 512,
        -- zlib's level.
        level = 6,
    },

    -- How long and how safely messages are kept.
    tiers = {

        -- Private messages.
        dm = {
            -- How long a message is kept. 0: for ever.
            ttl = 0,
            -- Messages kept per conversation. 0: all.
            max = 100000,
            -- "sync": on the disk before the answer. "commit": survives a killed process. "async": answered
            -- at once, stored behind.
            durability = "sync",
        },

        -- Channels with few members.
        small = {
            -- As tiers.dm.ttl.
            ttl = 90*days,
            -- As tiers.dm.max.
            max = 10000,
            -- As tiers.dm.durability.
            durability = "commit",
        },

        -- Channels with many members; their messages are pushed merged unless a client asks otherwise.
        large = {
            -- As tiers.dm.ttl.
            ttl = 7*days,
            -- As tiers.dm.max.
            max = 1000,
            -- As tiers.dm.durability.
            durability = "commit",
            -- Members from which a channel is large; below 80 % of that it is small again. 0: never.
            members = 500,
        },
    },

    -- Merged pushes.
    push = {
        -- A slice of time whose messages go together. 0: each at once.
        slice_ms = 200,
        -- The newest messages of a slice that are pushed; the others are counted, and history has them. 0:
        -- all.
        max = 20,
    },

    -- Messages a second, a second's worth at once. 0: no limit.
    rate = {
        -- Of one user.
        user = 10,
        -- In one conversation.
        channel = 40,
        -- What a channel over its limit does: "drop" refuses the message; "complete" stores all and pushes
        -- the newest of each slice.
        policy = "drop",
    },

    -- Policy in Lua (docs/scripting.md).
    scripts = {
        -- The folder that scripts are in.
        path = "scripts",
        -- Names of the scripts to load, without .lua, in their order. The three shipped ones are in the
        -- binary too, where path has no file of their name.
        load = { "ratelimit", "merge_push", "tiered_expiry" },
        -- CPU time that one call of a script may take.
        budget_ms = 5,
        -- Memory of the scripts of one shard.
        memory = 24*MiB,
    },

    -- Extensions in C (docs/plugins.md). Options of each plugin are in its README.
    plugins = {
        -- The directory of NAME.so.
        path = "plugins",
        -- Plugins to load: NAME = { options }; NAME = false leaves one out.
        load = {},
    },

    -- The console.
    console = {
        -- What `auth` asks for; nil: nothing.
        password = nil,
    },

    -- Origins that web pages may connect from, exact match ("https://chat.example.org"). Empty: the same
    -- host, and loopback origins on a loopback address.
    origins = {},
}
