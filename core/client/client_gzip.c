/* gzip, as a server sends it once a login has agreed upon it. */
#include "core/client/client_gzip.h"

#include <stdlib.h>
#include <zlib.h>

enum { GZIP = 15 + 16, STEP = 65536 }; /* zlib's windowBits for it; bytes that are made room for at a time */

static z_stream *begin(struct client *client)
{
    z_stream *z = client->gunzip;
    if (z)
        return inflateReset(z) == Z_OK ? z : NULL;
    z = calloc(1, sizeof(*z));
    if (!z || inflateInit2(z, GZIP) != Z_OK) {
        free(z);
        return NULL;
    }
    client->gunzip = z;
    return z;
}

int client_gunzip(struct client *client, struct slice in, struct slice *out)
{
    struct buf *plain = &client->plain;
    z_stream *z = begin(client);

    if (!z)
        return ERR_NOMEM;
    buf_reset(plain);
    z->next_in = (Bytef *)(uintptr_t)in.p;
    z->avail_in = (uInt)in.n;
    for (;;) {
        char *room = buf_reserve(plain, STEP);
        if (!room)
            return ERR_NOMEM;
        z->next_out = (Bytef *)room;
        z->avail_out = STEP;
        int status = inflate(z, Z_NO_FLUSH);
        plain->n += STEP - z->avail_out;
        if (plain->n > CLIENT_FRAME_MAX)
            return ERR_TOOLARGE;
        if (status == Z_STREAM_END && z->avail_in == 0) {
            *out = buf_slice(plain);
            return 0;
        }
        if (status == Z_MEM_ERROR)
            return ERR_NOMEM;
        if (status != Z_OK || (z->avail_in == 0 && z->avail_out > 0))
            return ERR_INVALID;
    }
}

void client_gzip_free(struct client *client)
{
    if (client->gunzip)
        inflateEnd(client->gunzip);
    free(client->gunzip);
    buf_free(&client->plain);
}
