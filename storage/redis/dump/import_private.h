/* What the files of an import into a cluster share. */
#ifndef MAGPIE_STORAGE_REDIS_IMPORT_PRIVATE_H
#define MAGPIE_STORAGE_REDIS_IMPORT_PRIVATE_H

#include "storage/conv_key.h"
#include "storage/dump.h"
#include "storage/redis/client/partition.h"
#include "storage/redis/dump/still.h"
#include "storage/redis/layout.h"

struct importer {
    struct still *s;
    struct dump_reader *in;  /* NULL: of no file */
    uint64_t bytes;          /* posted since all was answered last */
    struct dump_store store; /* of the file; its moves are in `moves` */
    char moves[256];
    uint64_t last_id; /* no id passes it */
    const char *bad;  /* what is wrong with a record; NULL: nothing */
    uint64_t gone, notes;
    uint64_t floor; /* at or below which no channel begins that the file does not name; 0: there is none */

    /* The conversation whose messages come, put when the last of them has come. */
    bool open;
    struct layout_head head;
    uint64_t seq, id;   /* of its message before */
    uint64_t oldest_ms; /* birth of its first one; 0: none yet */
    struct call *rows;  /* messages that gather; NULL: none */
    uint32_t rows_n;
    struct conv_key conv;

    /* The user whose inbox entries come. */
    struct slice owner; /* in owner_id; empty: nobody */
    char owner_id[64];
    uint64_t arrivals;

    struct {
        uint64_t channels;
        uint64_t window; /* the oldest that has digests; 0: none */
    } parts[PARTITIONS];
};

/* Hands a change over, and waits where too much is under way. 0 or ERR_IO. */
MUST_CHECK int import_send(struct importer *im, struct call *c);
void import_id(struct importer *im, uint64_t id);
/* Milliseconds and counter of an id, without its partition: what ids of a cluster are compared by. */
static inline uint64_t import_place(uint64_t id)
{
    return (id >> 22) * 4096 + (id & 4095);
}

/* Fills the prefix with what `take` puts there, as redis_import() does; the caller has set im->s. What it cannot say
 * itself stays in `why`. */
MUST_CHECK int import_fill(struct importer *im, int (*take)(struct importer *im), char *why, size_t why_size);

/* --- import_conv.c --- */
MUST_CHECK int import_conv(struct importer *im, const struct dump_conv *c);
MUST_CHECK int import_message(struct importer *im, const struct dump_message *m);
/* The last of a conversation's messages has come. */
MUST_CHECK int import_conv_end(struct importer *im);
/* The sweep looks at the conversation that was put last, at that time. */
MUST_CHECK int import_look(struct importer *im, uint64_t when_ms);
/* Once all is there: counts the members of channels, and drops those of channels that are not there. */
MUST_CHECK int import_channels(struct importer *im);

/* --- import_user.c --- */
MUST_CHECK int import_user(struct importer *im, const struct dump_user *u);
MUST_CHECK int import_deleted(struct importer *im, const struct dump_deleted *d);
MUST_CHECK int import_member(struct importer *im, const struct dump_member *m);
MUST_CHECK int import_pair(struct importer *im, const struct dump_pair *p);
MUST_CHECK int import_block(struct importer *im, const struct dump_block *b);
MUST_CHECK int import_inbox(struct importer *im, const struct dump_inbox *i);
/* The last of a user's inbox entries has come. */
MUST_CHECK int import_inbox_end(struct importer *im);

#endif
