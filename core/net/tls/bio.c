#include "core/net/tls/bio.h"

#include <string.h>

static int bio_read(BIO *b, char *p, int n)
{
    struct tls_io *io = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0)
        return 0;
    if (io->in_n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t take = (size_t)n < io->in_n ? (size_t)n : io->in_n;
    memcpy(p, io->in, take);
    io->in += take;
    io->in_n -= take;
    return (int)take;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct tls_io *io = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0)
        return 0;
    if ((size_t)n > io->out_room - io->out_n) {
        io->overflow = true;
        return -1;
    }
    memcpy(io->out + io->out_n, p, (size_t)n);
    io->out_n += (size_t)n;
    return n;
}

static long bio_ctrl(BIO *b, int command, long number, void *p)
{
    (void)b, (void)number, (void)p;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

BIO_METHOD *tls_bio_method(void)
{
    int index = BIO_get_new_index();
    BIO_METHOD *m = index < 0 ? NULL : BIO_meth_new(index | BIO_TYPE_SOURCE_SINK, "buffers of the thread");
    if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) && BIO_meth_set_ctrl(m, bio_ctrl) &&
        BIO_meth_set_create(m, bio_create))
        return m;
    BIO_meth_free(m);
    return NULL;
}

BIO *tls_bio_new(const BIO_METHOD *method, struct tls_io *io)
{
    BIO *b = BIO_new(method);
    if (b)
        BIO_set_data(b, io);
    return b;
}
