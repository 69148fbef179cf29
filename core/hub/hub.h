/*
 * The hub: shards, sessions, users, channels, conversations, fan-out; the chat itself.
 *
 * main makes one, gives it listeners, and tells it to reload, drain and stop. All functions: main thread.
 */
#ifndef MAGPIE_HUB_HUB_H
#define MAGPIE_HUB_HUB_H

#include "core/base/err.h"
#include "core/net/conn.h"

#include <stdbool.h>
#include <stdint.h>

struct hub;
struct hub_options;
struct mailbox;
struct shard;
struct listener;
struct store;
struct stream;

/* Makes `shards` shards (>= 1), not yet running. The store is borrowed and must outlive the hub; the options are
 * copied. NULL: out of memory or descriptors. */
struct hub *hub_new(unsigned shards, struct store *store, const struct hub_options *options);
/* Gives a shard a way for bytes to travel (net_set_stream()). Every shard needs each, since connections move. Before
 * hub_listen(). */
MUST_CHECK int hub_set_stream(struct hub *hub, unsigned shard, unsigned number, const struct stream *row);
/* Lets every shard accept on this listener (which has one descriptor per shard, or one for the first shard), whose
 * connections' bytes travel by that stream. Before hub_start(). */
MUST_CHECK int hub_listen(struct hub *hub, const struct listener *l, enum conn_transport transport, unsigned stream);
/* Starts the shard threads. ERR_IO: a thread could not be made; those started are stopped again. */
MUST_CHECK int hub_start(struct hub *hub);
/* Takes new options (checked by the config before). ERR_NOMEM: the old ones stay. */
MUST_CHECK int hub_reconfigure(struct hub *hub, const struct hub_options *options);
/* Stops accepting, tells every client (105 "shutdown", retryAfter random within spread_ms), finishes what is under way.
 * `done` is called on a shard's thread when no connection and no request is left (so it must only wake main: it is
 * called once). */
void hub_drain(struct hub *hub, uint32_t spread_ms, void (*done)(void *ctx), void *ctx);
/* Stops the threads, whatever is still open. The store's operations are waited for. Layers above take their things off
 * the shards after it. */
void hub_stop(struct hub *hub);
/* After hub_stop(): answers what was asked for since (with a refusal, where it would begin something). Who waits for an
 * answer then must call it. */
void hub_pump(struct hub *hub);
/* Whether the main thread has something under way that may ask the store for more. Before the store is closed, its
 * mailbox is run, and hub_pump() called, until it has not. */
bool hub_busy(const struct hub *hub);
/* hub_stop() when that was not done, then frees the hub. */
void hub_free(struct hub *hub);

#endif
