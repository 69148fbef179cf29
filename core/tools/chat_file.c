/* The token: in a file for its owner alone, since whoever has it is that user. */
#include "core/tools/chat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes that stand for themselves in the file's name. */
static bool is_plain(char b)
{
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '-' || b == '_';
}

static void escape(struct buf *out, const char *text)
{
    for (; *text; text++)
        if (is_plain(*text) || (*text == '.' && out->n && out->p[out->n - 1] != '/'))
            buf_byte(out, (uint8_t)*text);
        else
            buf_printf(out, "%%%02X", (unsigned char)*text);
}

char *chat_file_path(const char *name, const char *server)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct buf path = BUF_INIT;

    if (state && state[0] == '/') /* others are to be ignored */
        buf_str(&path, state);
    else if (home && home[0])
        buf_printf(&path, "%s/.local/state", home);
    else
        return NULL;
    buf_str(&path, "/magpie-chat/");
    escape(&path, name);
    buf_byte(&path, '@');
    escape(&path, server);
    buf_byte(&path, '\0');
    if (!buf_ok(&path))
        buf_free(&path);
    return path.p;
}

char *chat_file_read(const char *path)
{
    char token[2048];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd >= 0 ? read(fd, token, sizeof token - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return NULL;
    token[n] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    return token[0] ? strdup(token) : NULL;
}

/* The directories above the file. */
static int folders_make(char *path)
{
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        int rc = mkdir(path, 0700);
        *p = '/';
        if (rc < 0 && errno != EEXIST)
            return -1;
    }
    return 0;
}

int chat_file_write(const char *path, const char *token)
{
    struct buf fresh = BUF_INIT;
    int rc = -1, fd = -1;

    buf_printf(&fresh, "%s.%ld", path, (long)getpid()); /* renamed when whole; another program's is another */
    buf_byte(&fresh, '\0');
    errno = ENOMEM;
    if (!buf_ok(&fresh) || folders_make(fresh.p) < 0)
        goto out;
    fd = open(fresh.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        goto out;
    bool whole = dprintf(fd, "%s\n", token) == (int)strlen(token) + 1;
    rc = close(fd) == 0 && whole ? rename(fresh.p, path) : -1;
    if (rc < 0)
        (void)unlink(fresh.p);
out:
    buf_free(&fresh);
    return rc;
}
