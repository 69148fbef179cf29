/*
 * core/net/tls/records.c against a client (tls_kit.h) that the input plays. Two servers with the same keys hear the
 * same, one of them in pieces: they are in the same state after each step. Nothing that was not sealed comes out as
 * plaintext, all that was does, and what the servers seal the client can open.
 *
 * Input: a byte for the suite, one for the pieces; then steps, each with a byte that says which.
 */
#include "core/net/tls/records.h"
#include "tests/unit/tls_kit.h"

#include <sys/uio.h>

enum { ROOM = 1 << 16, STEPS = 64, SERVERS = 2 };

struct server {
    struct tls_records *r;
    uint8_t *kept; /* ROOM bytes: not opened yet */
    size_t kept_n, plain_n;
    uint8_t *plain; /* what the last step has brought, ROOM bytes */
    int rc;
};

struct play {
    const uint8_t *p, *end; /* the input */
    struct tls_crypto *c;
    struct server server[SERVERS];
    struct peer_way out, in;
    unsigned piece; /* bytes in which the second one hears */
    bool spoiled;   /* something was sent that is no record of the client's */
    bool parted;    /* the servers have said the last that they say */
    uint8_t *bytes; /* ROOM bytes */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned next_byte(struct play *f)
{
    return f->p < f->end ? *f->p++ : 0;
}

static void start(struct play *f)
{
    static const unsigned suites[] = {0x1301, 0x1302, 0x1303};
    unsigned suite = suites[next_byte(f) % 3], bytes = suite == 0x1302 ? 48 : 32;
    f->piece = next_byte(f) + 1;
    for (int i = 0; i < SERVERS; i++) {
        struct tls_secrets s = {.client_n = (uint8_t)bytes, .server_n = (uint8_t)bytes};
        memset(s.client, 'c', bytes);
        memset(s.server, 's', bytes);
        f->out = peer_way(suite, s.client);
        f->in = peer_way(suite, s.server);
        struct server *a = &f->server[i];
        *a = (struct server){.r = tls_records_new(f->c, suite, &s, 0), .kept = malloc(ROOM), .plain = malloc(ROOM)};
        peer_must(a->r && a->kept && a->plain);
    }
}

/* As the stream row reads, with blocks of exactly as many bytes as there are. */
static void feed(struct play *f, struct server *a, const uint8_t *bytes, size_t n)
{
    struct tls_opened o;
    size_t all = a->kept_n + n;
    uint8_t *exact = malloc(all + !all);
    peer_must(exact && all <= ROOM);
    memcpy(exact, a->kept, a->kept_n);
    if (n)
        memcpy(exact + a->kept_n, bytes, n);
    int before = a->rc;
    a->rc = tls_records_open(f->c, a->r, exact, all, &o);
    peer_must(o.plain <= o.used && o.used <= all);
    peer_must(a->rc == 0 ? o.want > all - o.used && o.want <= TLS_RECORD_MAX : o.want == 0 && o.used == all);
    peer_must(before == 0 || (a->rc == before && o.plain == 0));
    memcpy(a->plain + a->plain_n, exact, o.plain);
    a->plain_n += o.plain;
    a->kept_n = all - o.used;
    memcpy(a->kept, exact + o.used, a->kept_n);
    free(exact);
}

/* Both servers hear it. How much plaintext came of it, which both have. */
static size_t hear(struct play *f, const uint8_t *bytes, size_t n)
{
    struct server *a = &f->server[0], *b = &f->server[1];
    a->plain_n = b->plain_n = 0;
    feed(f, a, bytes, n);
    for (size_t at = 0; at < n; at += f->piece)
        feed(f, b, bytes + at, n - at < f->piece ? n - at : f->piece);
    if (n == 0)
        feed(f, b, bytes, 0);
    peer_must(a->rc == b->rc && a->plain_n == b->plain_n && memcmp(a->plain, b->plain, a->plain_n) == 0);
    peer_must(a->kept_n == b->kept_n && memcmp(a->kept, b->kept, a->kept_n) == 0);
    peer_must(memcmp(a->r, b->r, tls_records_size(a->r)) == 0);
    peer_must(!f->spoiled || a->plain_n == 0);
    if (a->rc == ERR_INVALID)
        peer_must(tls_records_alert(a->r) != TLS_ALERT_CLOSE_NOTIFY && (f->parted || tls_records_owes(a->r)));
    if (a->rc == 0 && !f->spoiled && a->r->way[0].seq == 0 && f->out.seq > 0) /* it has taken a KeyUpdate */
        peer_update(&f->out);
    if (a->rc == 0 && !f->spoiled)
        peer_must(memcmp(a->r->keys, f->out.key, f->out.key_n) == 0 && a->r->way[0].seq == f->out.seq);
    return a->plain_n;
}

/* What was in one record, and whether it came out. */
static void hear_inner(struct play *f, const uint8_t *inner, size_t n)
{
    size_t size = peer_seal_inner(&f->out, inner, n, f->bytes);
    bool opened = f->server[0].rc == 0 && !f->spoiled;
    size_t plain = hear(f, f->bytes, size);
    while (n && inner[n - 1] == 0)
        n--;
    if (opened && f->server[0].rc == 0) {
        peer_must(n > 0 && inner[n - 1] >= PEER_ALERT && inner[n - 1] <= PEER_DATA);
        peer_must(plain == (inner[n - 1] == PEER_DATA ? n - 1 : 0));
    }
    peer_must(plain == 0 || (plain == n - 1 && memcmp(f->server[0].plain, inner, plain) == 0));
}

static void say_data(struct play *f)
{
    size_t n = next_byte(f) * 65, padding = next_byte(f);
    uint8_t *inner = calloc(1, n + 1 + padding);
    peer_must(inner != NULL);
    memset(inner, 'd', n);
    inner[n] = PEER_DATA;
    hear_inner(f, inner, n + 1 + padding);
    free(inner);
}

/* Any bytes of the input, as what a record has inside or as they are. */
static void say_bytes(struct play *f, bool sealed)
{
    size_t n = next_byte(f);
    if (n > (size_t)(f->end - f->p))
        n = (size_t)(f->end - f->p);
    const uint8_t *p = f->p;
    f->p += n;
    if (sealed) {
        hear_inner(f, p, n);
        return;
    }
    f->spoiled = f->spoiled || n;
    hear(f, p, n);
}

static void say_turned(struct play *f)
{
    size_t n = peer_seal(&f->out, PEER_DATA, "turned", 6, next_byte(f), f->bytes);
    unsigned bit = next_byte(f);
    f->bytes[bit / 8 % n] ^= (uint8_t)(1 << bit % 8);
    f->spoiled = true;
    hear(f, f->bytes, n);
}

/* The client opens what the servers have sealed: n bytes with `taken` of plaintext. */
static void open_sealed(struct play *f, uint8_t *p, size_t n, size_t taken)
{
    size_t data = 0;
    for (size_t at = 0, used = 0; at < n; at += used) {
        unsigned type = 0;
        long content = peer_open(&f->in, p + at, n - at, &type, &used);
        const uint8_t *inside = p + at + TLS_RECORD_HEADER;
        peer_must(content > 0 && !f->parted);
        if (type == PEER_HANDSHAKE) {
            peer_must(content == 5 && memcmp(inside, "\x18\0\0\1", 4) == 0 && inside[4] <= 1);
            peer_update(&f->in);
        } else if (type == PEER_ALERT) {
            peer_must(content == 2 && inside[1] == tls_records_alert(f->server[0].r));
            peer_must(inside[0] == (inside[1] ? 2 : 1));
            f->parted = true;
        } else {
            peer_must(type == PEER_DATA && content <= TLS_PLAIN_MAX);
            for (long i = 0; i < content; i++)
                peer_must(inside[i] == (uint8_t)(data + (size_t)i));
            data += (size_t)content;
        }
    }
    peer_must(data == taken);
}

static void seal(struct play *f, size_t n, size_t room)
{
    struct tls_sealed s[SERVERS];
    int rc[SERVERS];
    uint8_t *out[SERVERS], *said = malloc(n + 1);
    peer_must(said != NULL);
    for (size_t i = 0; i < n; i++)
        said[i] = (uint8_t)i;
    const struct iovec v[] = {{said, n / 3}, {NULL, 0}, {said + n / 3, n - n / 3}};
    for (int i = 0; i < SERVERS; i++) {
        out[i] = malloc(room);
        peer_must(out[i] != NULL);
        rc[i] = tls_records_seal(f->c, f->server[i].r, v, 3, 0, out[i], room, &s[i]);
        peer_must(s[i].n <= room && s[i].taken <= n && (rc[i] == 0 || rc[i] == ERR_CLOSED));
        peer_must(rc[i] == 0 ? !tls_records_owes(f->server[i].r) : !s[i].n);
    }
    peer_must(rc[0] == rc[1] && s[0].n == s[1].n && memcmp(out[0], out[1], s[0].n) == 0);
    open_sealed(f, out[0], s[0].n, s[0].taken);
    peer_must(!n || s[0].taken || f->parted || f->server[0].rc == ERR_IO);
    for (int i = 0; i < SERVERS; i++)
        free(out[i]);
    free(said);
}

static void step(struct play *f)
{
    size_t n;
    switch (next_byte(f) % 8) {
    case 0:
        say_data(f);
        break;
    case 1:
        hear_inner(f, (const uint8_t[]){24, 0, 0, 1, (uint8_t)(next_byte(f) & 1), PEER_HANDSHAKE}, 6);
        break;
    case 2:
        say_bytes(f, true);
        break;
    case 3:
        say_bytes(f, false);
        break;
    case 4:
        say_turned(f);
        break;
    case 5:
        n = next_byte(f) * 200;
        seal(f, n, TLS_SEAL_MIN + next_byte(f) * 300);
        break;
    case 6:
        for (int i = 0; i < SERVERS; i++)
            tls_records_close(f->server[i].r);
        break;
    default:
        seal(f, 0, TLS_SEAL_MIN);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tls_crypto *c;
    static uint8_t bytes[ROOM];
    if (!c)
        c = tls_crypto_new();
    peer_must(c != NULL);
    struct play f = {.p = data, .end = data + size, .c = c, .bytes = bytes};
    start(&f);
    for (unsigned i = 0; i < STEPS && f.p < f.end; i++)
        step(&f);
    seal(&f, 100, TLS_SEAL_ROOM);
    for (int i = 0; i < SERVERS; i++) {
        tls_records_free(f.server[i].r);
        free(f.server[i].kept);
        free(f.server[i].plain);
    }
    return 0;
}
