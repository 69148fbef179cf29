#include "core/config/secret.h"

#include "core/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TEXT_MIN = 16,   /* bytes, as for auth.secret in the schema */
    TEXT_MAX = 4096, /* bytes of the file */
    FRESH_BYTES = 32 /* of randomness in a text that we make; twice as many hexadecimal digits */
};

static const char key_label[] = "magpie resume token", digest_label[] = "magpie resume token key";

static int derive(EVP_MD_CTX *ctx, const char *label, size_t label_n, const void *text, size_t n, uint8_t *key)
{
    unsigned size = 0;
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) && EVP_DigestUpdate(ctx, label, label_n) &&
              EVP_DigestUpdate(ctx, text, n) && EVP_DigestFinal_ex(ctx, key, &size) && size == SECRET_KEY_SIZE;
    return ok ? 0 : ERR_NOMEM;
}

static int key_of(const char *text, size_t n, uint8_t *key, char *why, size_t why_size)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int rc = derive(ctx, key_label, sizeof key_label, text, n, key);
    EVP_MD_CTX_free(ctx);
    if (rc)
        snprintf(why, why_size, "the key of resume tokens cannot be derived: %s", err_str(rc));
    return rc;
}

static int sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

void secret_make(char text[SECRET_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[FRESH_BYTES];
    random_bytes(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        text[2 * i] = digits[random[i] >> 4];
        text[2 * i + 1] = digits[random[i] & 15];
    }
    text[2 * FRESH_BYTES] = '\0';
    explicit_bzero(random, sizeof random);
}
_Static_assert(SECRET_TEXT_SIZE == 2 * FRESH_BYTES + 1, "its digits and a NUL");

/* Writes a whole fresh file beside `path` and links it there, so that nobody ever sees half of it. It is no error if
 * one came to be meanwhile. */
static int make_file(const char *directory, const char *path)
{
    char text[SECRET_TEXT_SIZE], fresh[PATH_MAX + 16];
    secret_make(text);
    text[SECRET_TEXT_SIZE - 1] = '\n';
    snprintf(fresh, sizeof fresh, "%s.%ld", path, (long)getpid());
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    int rc = write(fd, text, sizeof text) == (ssize_t)sizeof text && fsync(fd) == 0 ? 0 : -1;
    close(fd);
    if (rc == 0 && link(fresh, path) != 0 && errno != EEXIST)
        rc = -1;
    int saved = errno;
    unlink(fresh);
    errno = saved;
    explicit_bzero(text, sizeof text);
    return rc ? rc : sync_directory(directory);
}

static int refuse_file(int fd, const char *path, char *why, size_t why_size)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    if (!S_ISREG(st.st_mode)) {
        snprintf(why, why_size, "%s: is no plain file", path);
        return ERR_AUTH;
    }
    if (st.st_mode & 077) {
        snprintf(why, why_size,
                 "%s: has mode %04o, so that others than its owner may use it; make it 0600 (if others may have read "
                 "it, remove it: "
                 "that ends all sessions)",
                 path, st.st_mode & 07777);
        return ERR_AUTH;
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        snprintf(why, why_size, "%s: belongs to user %u, not to this process", path, (unsigned)st.st_uid);
        return ERR_AUTH;
    }
    return 0;
}

static int read_file(int fd, const char *path, uint8_t *key, char *why, size_t why_size)
{
    char text[TEXT_MAX];
    int rc = refuse_file(fd, path, why, why_size);
    if (rc)
        return rc;
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    if (n < TEXT_MIN) {
        snprintf(
            why, why_size,
            "%s: has %zd bytes, and a key needs %d; restore it from a backup, or remove it (that ends all sessions)",
            path, n, TEXT_MIN);
        rc = ERR_INVALID;
    } else {
        rc = key_of(text, (size_t)n, key, why, why_size);
    }
    explicit_bzero(text, sizeof text);
    return rc;
}

int secret_load(const char *text, const char *directory, uint8_t *key, char *why, size_t why_size)
{
    if (text)
        return key_of(text, strlen(text), key, why, why_size);
    if (!directory) {
        random_bytes(key, SECRET_KEY_SIZE);
        return 0;
    }
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/secret", directory) >= sizeof path) {
        snprintf(why, why_size, "the path of the data directory is too long");
        return ERR_INVALID;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT && make_file(directory, path) == 0)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        snprintf(why, why_size, "%s: %s", path,
                 errno == ELOOP ? "is a symbolic link, and must be a plain file" : strerror(errno));
        return ERR_IO;
    }
    int rc = read_file(fd, path, key, why, why_size);
    close(fd);
    return rc;
}

int secret_digest(const uint8_t *key, uint8_t out[SECRET_DIGEST_SIZE])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int rc = derive(ctx, digest_label, sizeof digest_label, key, SECRET_KEY_SIZE, out);
    EVP_MD_CTX_free(ctx);
    return rc;
}
