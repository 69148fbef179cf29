#include "storage/directory.h"

#include "core/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Syncs a new directory's name. 0 or ERR_IO. */
static int parent_sync(const char *path)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = '\0';
    int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd >= 0 && fsync(fd) == 0 ? 0 : ERR_IO;
    if (fd >= 0)
        close(fd);
    return r;
}

int directory_make(const char *path)
{
    char p[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(p)) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    memcpy(p, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (p[i] == '/' || p[i] == '\0') {
            char was = p[i];
            p[i] = '\0';
            if (mkdir(p, 0700) == 0 ? parent_sync(p) : errno != EEXIST)
                return ERR_IO;
            p[i] = was;
        }
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return ERR_IO;
    }
    return 0;
}

int directory_check(const char *path, char *why, size_t why_size)
{
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return 0; /* it is made, or refused, elsewhere */
    if (st.st_mode & S_IWOTH) {
        snprintf(
            why, why_size,
            "the data directory %s has mode %04o, so that everybody may replace what is in it; make it 0700, or name "
            "a directory inside of it, which is made with mode 0700",
            path, st.st_mode & 07777);
        return ERR_AUTH;
    }
    if (st.st_mode & S_IWGRP)
        log_event(LOG_WARN, "storage.open_directory", LOG_STR("directory", path), LOG_INT("group", st.st_gid),
                  LOG_STR("effect",
                          "this group may replace what is in it; mode 0750 lets it read alone, 0700 not even that"));
    return 0;
}

int directory_lock(const char *path, int *fd, char *why, size_t why_size)
{
    char name[PATH_MAX];
    snprintf(name, sizeof(name), "%s/lock", path);
    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) {
        snprintf(why, why_size, "cannot open %s: %s", name, strerror(errno));
        return ERR_IO;
    }
    if (flock(*fd, LOCK_EX | LOCK_NB)) {
        snprintf(why, why_size, "the data directory %s is in use by another server", path);
        return errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;
    }
    return 0;
}
