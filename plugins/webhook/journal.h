/*
 * The journal: events that wait to be delivered, on disk, in the order they happened.
 *
 * A directory of segments, NUMBER.events, each a run of records (length u32, CRC-32 u32, both big-endian; then the
 * event's JSON), and the file `cursor` that says where delivery stands, with a CRC-32. A torn record at the end of the
 * newest segment (a killed process, a power loss) is cut off when it is opened; damage elsewhere is passed over up to
 * the next whole record. Bounded: beyond the limit the oldest segments go. Whatever is lost is counted.
 *
 * One writer and one reader, in one thread or two; the caller locks.
 */
#ifndef MAGPIE_PLUGINS_WEBHOOK_JOURNAL_H
#define MAGPIE_PLUGINS_WEBHOOK_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JOURNAL_RECORD_MAX = 16 << 20 }; /* bytes of a record */

struct journal;

struct journal_loss {
    uint64_t over_limit; /* records thrown away over the limit */
    uint64_t damaged;    /* places where nothing whole can be read: one record each, or more */
    uint64_t bytes;      /* of those places */
    bool cursor;         /* it was damaged: what had been delivered may come again */
};

/* directory: there, and the journal's alone. limit: bytes. NULL with a sentence in `why`. */
struct journal *journal_open(const char *directory, uint64_t limit, char *why, size_t why_size);
void journal_close(struct journal *j);
void journal_limit(struct journal *j, uint64_t limit);

/* Appends a record; what is appended is safe after journal_sync(). -1: the disk refused (errno tells why); what was
 * written of it is taken back. */
int journal_append(struct journal *j, const void *p, size_t n);
int journal_sync(struct journal *j);

/* Reads records from the cursor on, as many as fit into `max` bytes together (one at least), and calls fn for each.
 * Returns how many; 0: none wait; -1: the disk refused. They stay until journal_advance(). */
int journal_peek(struct journal *j, size_t max, void (*fn)(void *ctx, const void *p, size_t n), void *ctx);
/* What the last journal_peek() returned is delivered. -1: that could not be noted (they will come again after a
 * restart). */
int journal_advance(struct journal *j);

uint64_t journal_backlog(const struct journal *j); /* bytes that wait */
/* What was lost since the last call. */
struct journal_loss journal_lost(struct journal *j);

#endif
