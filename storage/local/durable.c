/* The lock and the loss marks: see durable.h. */
#include "storage/local/durable.h"

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "storage/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK_OLD   UINT64_C(0x4d61677069654d31) /* "MagpieM1": up to manifest_bytes, then the sum */
#define MARK_MAGIC UINT64_C(0x4d61677069654d32) /* "MagpieM2" */
#define SHM_MAGIC  UINT64_C(0x4d61677069655331) /* "MagpieS1" */
#define SHM_DIR    "/dev/shm"
#define SHM_NAME   "magpie-"
enum {
    SHM_SIZE = 4096,
    SHM_PATH = 2048, /* bytes kept of the data directory's path, NUL included */
    MARK_EVERY_MS = 1000,
    MARK_SLACK_MS = 10000, /* that writing the mark may take */
    PROBE_BYTES = 4 * 1024 * 1024,
    SECTOR = 512
};

/* DATA/mark, in the machine's own byte order: it never leaves it. */
struct mark_file {
    uint64_t magic;
    uint64_t instance;
    uint64_t group; /* synced for certain; with `clean` the last of all */
    uint64_t inode; /* of this very file: a copy has another one */
    uint64_t birth; /* of the file, ns; 0: the file system does not tell */
    uint64_t clean;
    uint64_t manifest;                   /* number of the database's manifest; 0: unknown */
    uint64_t manifest_bytes;             /* its size: it is synced with each change, so that it never gets shorter */
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE]; /* of the machine when it was written; all zero: not known */
    uint64_t written_ms;                 /* when that was, by the wall clock: as the file's own time of change says */
    uint64_t sum;                        /* hash_stable of the fields before */
};

/* The file in shared memory. */
struct shm_file {
    _Atomic uint64_t magic; /* 0 while the rest changes */
    uint64_t instance;
    _Atomic uint64_t given;  /* no answer has told of a group after this */
    _Atomic uint64_t synced; /* newest group that is known to be synced */
};

struct durable {
    char *path, *db;      /* data directory, database inside it; owned */
    int lock_fd, mark_fd; /* -1: none */
    char shm_path[64];    /* empty: no shared memory */
    int shm_error;        /* why there is none */
    struct shm_file *shm; /* mapped; NULL: none */
    uint64_t instance;
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE]; /* now */
    struct mark_file mark;               /* as found at open; mark.magic 0: none or unreadable */
    bool mark_own;                       /* and it is no copy */
    _Atomic bool doubted;                /* durable_doubt() was called */
    bool mark_lived;                     /* and its file system has lost nothing since: see mark_look_lived() */
    _Atomic uint64_t marked_ms;          /* when the mark was last brought up to date, monotonic */
};

static uint64_t mark_sum(const struct mark_file *m)
{
    return hash_stable(slice_of(m, offsetof(struct mark_file, sum)));
}

static void file_identity(int fd, uint64_t *inode, uint64_t *birth)
{
    struct statx sx;
    *inode = *birth = 0;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &sx) == 0) {
        *inode = sx.stx_ino;
        *birth = sx.stx_mask & STATX_BTIME ? (uint64_t)sx.stx_btime.tv_sec * 1000000000u + sx.stx_btime.tv_nsec : 0;
    }
}

/*
 * A sign of life that lies in the kernel's memory of an open file system and nowhere else: the hint how long what is
 * written to this inode will live. No file system stores it. So an inode that still has it has been in memory all the
 * time, its file system was not unmounted meanwhile, and the machine ran on: all that was written to files there can be
 * read, whether it was synced or not.
 */
static bool sign_set(int fd, bool alive)
{
    uint64_t hint = alive ? RWH_WRITE_LIFE_SHORT : RWH_WRITE_LIFE_NOT_SET;
    return fcntl(fd, F_SET_RW_HINT, &hint) == 0;
}

static bool sign_there(int fd)
{
    uint64_t hint = 0;
    return fcntl(fd, F_GET_RW_HINT, &hint) == 0 && hint == RWH_WRITE_LIFE_SHORT;
}

/* Whether the mark proves that nothing can be missing that was written to the database: it has the sign of life, was
 * last written by the server and by nobody who put a backup there (its contents know when), and the database is on the
 * same file system. The boot id is asked too, in case a file system does store the hint. */
static bool mark_look_lived(const struct durable *d, const struct mark_file *m, int fd)
{
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE];
    struct stat own, db;
    if (!sign_there(fd) || !clock_boot_id(boot_id) || memcmp(boot_id, m->boot_id, sizeof boot_id) != 0)
        return false;
    if (fstat(fd, &own) || stat(d->db, &db) || own.st_dev != db.st_dev)
        return false;
    uint64_t changed_ms = (uint64_t)own.st_ctim.tv_sec * 1000 + (uint64_t)own.st_ctim.tv_nsec / 1000000;
    return changed_ms <= m->written_ms + MARK_SLACK_MS;
}

/* Reads a mark of this version or the one before. */
static bool mark_decode(struct mark_file *m, size_t n)
{
    const size_t old = offsetof(struct mark_file, boot_id);
    uint64_t sum;
    if (n == sizeof *m && m->magic == MARK_MAGIC)
        return m->sum == mark_sum(m);
    if (n < old + sizeof sum || m->magic != MARK_OLD)
        return false;
    memcpy(&sum, (const char *)m + old, sizeof sum);
    if (sum != hash_stable(slice_of(m, old)))
        return false;
    memset((char *)m + old, 0, sizeof *m - old);
    return true;
}

static void mark_read(struct durable *d)
{
    char name[PATH_MAX];
    snprintf(name, sizeof(name), "%s/mark", d->path);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    struct mark_file m = {0};
    ssize_t n = pread(fd, &m, sizeof(m), 0);
    if (n > 0 && mark_decode(&m, (size_t)n)) {
        uint64_t inode, birth;
        file_identity(fd, &inode, &birth);
        d->mark = m;
        d->mark_own = m.inode == inode && m.birth == birth;
        d->mark_lived = d->mark_own && mark_look_lived(d, &m, fd);
    } else {
        log_event(LOG_WARN, "storage.mark_damaged", LOG_STR("file", name));
    }
    close(fd);
}

/* Removes what killed servers left in shared memory whose data directories are gone. The path stands behind the
 * numbers. */
static void shm_sweep(void)
{
    DIR *dir = opendir(SHM_DIR);
    struct stat st;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[PATH_MAX] = "";
        int fd = strncmp(e->d_name, SHM_NAME, strlen(SHM_NAME)) == 0
                     ? openat(dirfd(dir), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                     : -1;
        if (fd < 0)
            continue;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
            pread(fd, path, SHM_PATH, sizeof(struct shm_file)) > 0 && path[0] == '/' && memchr(path, '\0', SHM_PATH) &&
            access(path, F_OK) && errno == ENOENT)
            unlinkat(dirfd(dir), e->d_name, 0);
        close(fd);
    }
    if (dir)
        closedir(dir);
}

/* A page of memory behind the file, so that no write to it can fail: on a full file system that would be a SIGBUS. */
static int shm_reserve(int fd)
{
    int error;
    do
        error = posix_fallocate(fd, 0, SHM_SIZE);
    while (error == EINTR);
    return error;
}

/* Maps the file in shared memory, made when absent. Without it the store works: see durable_judge(). */
static void shm_map(struct durable *d)
{
    struct stat st;
    char real[PATH_MAX];
    if (!realpath(d->path, real) || stat(real, &st))
        return;
    char id[PATH_MAX + 32];
    int n = snprintf(id, sizeof(id), "%s:%llu", real, (unsigned long long)st.st_ino);
    snprintf(d->shm_path, sizeof(d->shm_path), SHM_DIR "/" SHM_NAME "%016llx",
             (unsigned long long)hash_stable(slice_of(id, (size_t)n)));
    int fd = open(d->shm_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ours = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
    d->shm_error = fd < 0 ? errno : ours ? shm_reserve(fd) : EPERM;
    if (!d->shm_error) {
        if (strlen(real) < SHM_PATH)
            (void)!pwrite(fd, real, strlen(real) + 1, sizeof(*d->shm)); /* for shm_sweep() */
        void *p = mmap(NULL, sizeof(*d->shm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        d->shm_error = p == MAP_FAILED ? errno : 0;
        d->shm = p == MAP_FAILED ? NULL : p;
    }
    if (!d->shm && ours && st.st_size == 0) /* it holds nothing, and would only be in the way */
        unlink(d->shm_path);
    if (fd >= 0)
        close(fd);
    if (!d->shm)
        d->shm_path[0] = '\0';
}

/* The database's own directory is made with mode 0700. Copied without its modes, it may have become everybody's; the
 * group may be allowed to read it, for backups. */
static void database_shut(const struct durable *d)
{
    const mode_t loose = S_IWGRP | S_IRWXO;
    struct stat st;
    int fd = open(d->db, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_mode & loose) {
        bool closed = fchmod(fd, st.st_mode & 07777 & ~loose) == 0;
        log_event(LOG_WARN, "storage.open_directory", LOG_STR("directory", d->db),
                  LOG_STR("effect", closed ? "others might have read messages, or put others there; its mode is mended"
                                           : "others may read messages, or put others there"));
    }
    if (fd >= 0)
        close(fd);
}

int durable_open(struct durable **out, const char *path, char *why, size_t why_size)
{
    struct durable *d = calloc(1, sizeof(*d));
    int r = ERR_NOMEM;
    *out = NULL;
    snprintf(why, why_size, "out of memory");
    if (!d)
        return r;
    d->lock_fd = d->mark_fd = -1;
    d->path = strdup(path);
    d->db = d->path ? malloc(strlen(path) + 4) : NULL;
    if (!d->db)
        goto fail;
    snprintf(d->db, strlen(path) + 4, "%s/db", path);
    r = directory_check(path, why, why_size);
    if (r)
        goto fail;
    r = directory_make(d->db);
    if (r) {
        snprintf(why, why_size, "cannot make the data directory %s: %s", path, strerror(errno));
        goto fail;
    }
    r = directory_lock(path, &d->lock_fd, why, why_size);
    if (r)
        goto fail;
    database_shut(d);
    mark_read(d);
    shm_sweep();
    shm_map(d);
    *out = d;
    return 0;
fail:
    durable_close(d);
    return r;
}

void durable_close(struct durable *d)
{
    if (!d)
        return;
    if (d->shm) {
        if (!atomic_load(&d->shm->magic)) /* nobody has begun here: it holds nothing */
            unlink(d->shm_path);
        munmap(d->shm, sizeof(*d->shm));
    }
    if (d->mark_fd >= 0)
        close(d->mark_fd);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    free(d->path);
    free(d->db);
    free(d);
}

const char *durable_db_path(const struct durable *d)
{
    return d->db;
}

/* Calls fn for each file of the database whose name ends in `end`; true when one call is. */
static bool any_file(const struct durable *d, const char *end, bool (*fn)(const char *name))
{
    DIR *dir = opendir(d->db);
    bool any = false;
    if (!dir)
        return false;
    for (struct dirent *e; !any && (e = readdir(dir));) {
        size_t n = strlen(e->d_name), m = strlen(end);
        if (n >= m && strcmp(e->d_name + n - m, end) == 0) {
            char name[PATH_MAX];
            snprintf(name, sizeof(name), "%s/%s", d->db, e->d_name);
            any = !fn || fn(name);
        }
    }
    closedir(dir);
    return any;
}

bool durable_used(const struct durable *d)
{
    return d->mark.magic || any_file(d, ".sst", NULL) || any_file(d, ".log", NULL);
}

bool durable_begun(const struct durable *d)
{
    return d->mark.magic != 0;
}

/* Whether a file has a whole sector of zeros: space that was added to it and whose data never arrived. Records hold no
 * such runs. */
static bool has_zero_sector(const char *name)
{
    static const char zeros[SECTOR];
    char buf[64 * SECTOR];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    bool zero = false;
    ssize_t n;
    while (fd >= 0 && !zero && (n = read(fd, buf, sizeof(buf))) > 0)
        for (ssize_t at = 0; !zero && at + SECTOR <= n; at += SECTOR)
            zero = memcmp(buf + at, zeros, SECTOR) == 0;
    if (fd >= 0)
        close(fd);
    return zero;
}

bool durable_log_torn(const struct durable *d)
{
    bool same_boot = d->shm && d->shm->magic == SHM_MAGIC && d->mark.magic && d->shm->instance == d->mark.instance;
    /* After a real loss of power anything may stand at the log's end. With the shared memory still there, or a sign of
     * life, the machine ran on: then only space whose data never arrived is an innocent cause. */
    return d->mark.magic && !d->mark.clean && ((!same_boot && !d->mark_lived) || any_file(d, ".log", has_zero_sector));
}

/* The number and size of the manifest that CURRENT names; zeros when that cannot be told. */
static void manifest_look(const struct durable *d, uint64_t *number, uint64_t *bytes)
{
    char name[PATH_MAX], text[64] = "";
    struct stat st;
    unsigned long long n = 0;
    *number = *bytes = 0;
    snprintf(name, sizeof(name), "%s/CURRENT", d->db);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    if (sscanf(text, "MANIFEST-%llu", &n) != 1)
        return;
    text[strcspn(text, "\n")] = '\0';
    snprintf(name, sizeof(name), "%s/%s", d->db, text);
    if (stat(name, &st) == 0) {
        *number = n;
        *bytes = (uint64_t)st.st_size;
    }
}

enum durable_verdict durable_judge(const struct durable *d, uint64_t instance, uint64_t group, char *why,
                                   size_t why_size)
{
    if (!d)
        return DURABLE_WHOLE;
    bool mark = d->mark.magic != 0;
    if (mark && d->mark.instance != instance) {
        snprintf(
            why, why_size,
            "the database in %s is not the one that was used here, or its files are missing (after putting another one "
            "there on "
            "purpose, remove %s/mark)",
            d->db, d->path);
        return DURABLE_REFUSED;
    }
    uint64_t manifest, bytes;
    manifest_look(d, &manifest, &bytes);
    if (mark && (manifest < d->mark.manifest || (manifest == d->mark.manifest && bytes < d->mark.manifest_bytes))) {
        /* RocksDB takes a manifest that ends early for an older state of the database, and would remove all files of
         * the newer one. */
        snprintf(why, why_size, "the database in %s has a manifest that is cut short or older than it was", d->db);
        return DURABLE_REFUSED;
    }
    bool shm = d->shm && d->shm->magic == SHM_MAGIC && d->shm->instance == instance;
    if (mark && group < d->mark.group) {
        snprintf(why, why_size,
                 "the database in %s ends at write group %llu, but group %llu had been synced: its log is damaged or "
                 "incomplete",
                 d->db, (unsigned long long)group, (unsigned long long)d->mark.group);
        return DURABLE_REFUSED;
    }
    if (shm && mark && d->mark_own && group < atomic_load(&d->shm->synced)) {
        snprintf(why, why_size,
                 "the database in %s ends at write group %llu, but group %llu had been synced: its log is damaged or "
                 "incomplete "
                 "(after restoring a backup on purpose, remove %s)",
                 d->db, (unsigned long long)group, (unsigned long long)atomic_load(&d->shm->synced), d->shm_path);
        return DURABLE_REFUSED;
    }
    if (!mark || !d->mark_own)
        return DURABLE_LOST; /* a copy: the original may have gone on */
    if (shm)
        return atomic_load(&d->shm->given) > group ? DURABLE_LOST : DURABLE_WHOLE;
    if (d->mark.clean)
        return d->mark.group == group ? DURABLE_WHOLE : DURABLE_LOST;
    return d->mark_lived ? DURABLE_WHOLE : DURABLE_LOST; /* killed, and somebody cleared the shared memory away */
}

static void mark_fill(struct durable *d, struct mark_file *m, uint64_t group, bool clean)
{
    *m = (struct mark_file){
        .magic = MARK_MAGIC, .instance = d->instance, .group = group, .clean = clean, .written_ms = clock_wall_ms()};
    memcpy(m->boot_id, d->boot_id, sizeof m->boot_id);
    file_identity(d->mark_fd, &m->inode, &m->birth);
    manifest_look(d, &m->manifest, &m->manifest_bytes);
    m->sum = mark_sum(m);
}

int durable_begin(struct durable *d, uint64_t instance, uint64_t group)
{
    char name[PATH_MAX], temp[PATH_MAX + 8];
    struct mark_file m;
    if (!d)
        return 0;
    snprintf(name, sizeof(name), "%s/mark", d->path);
    snprintf(temp, sizeof(temp), "%s.new", name);
    d->instance = instance;
    d->mark_fd = open(temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (d->mark_fd < 0)
        return ERR_IO;
    (void)clock_boot_id(d->boot_id);
    mark_fill(d, &m, group, false);
    bool sign = sign_set(d->mark_fd, true);
    if (!d->shm)
        log_event(LOG_WARN, "storage.no_shared_memory", LOG_STR("because", strerror(d->shm_error)),
                  LOG_STR("effect", sign ? "a killed process is told from lost power by the file system alone"
                                         : "after a killed process message numbers jump"));
    int dir = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = dir >= 0 && pwrite(d->mark_fd, &m, sizeof(m), 0) == (ssize_t)sizeof(m) && fsync(d->mark_fd) == 0 &&
              rename(temp, name) == 0 && fsync(dir) == 0;
    if (dir >= 0)
        close(dir);
    if (ok && d->shm) {
        atomic_store(&d->shm->magic, 0);
        d->shm->instance = instance;
        atomic_store(&d->shm->given, group);
        atomic_store(&d->shm->synced, group);
        atomic_store(&d->shm->magic, SHM_MAGIC);
    }
    return ok ? 0 : ERR_IO;
}

void durable_given(struct durable *d, uint64_t group)
{
    if (d && d->shm)
        atomic_store(&d->shm->given, group);
}

void durable_doubt(struct durable *d)
{
    if (d && d->mark_fd >= 0 && !atomic_exchange(&d->doubted, true))
        (void)sign_set(d->mark_fd, false);
}

void durable_synced(struct durable *d, uint64_t group)
{
    if (!d)
        return;
    if (d->shm)
        atomic_store(&d->shm->synced, group);
    uint64_t now = clock_mono_ms();
    if (now - atomic_load(&d->marked_ms) >= MARK_EVERY_MS) { /* a lower bound: need not be exact, nor synced itself */
        struct mark_file m;
        atomic_store(&d->marked_ms, now);
        mark_fill(d, &m, group, false);
        if (pwrite(d->mark_fd, &m, sizeof(m), 0) != (ssize_t)sizeof(m))
            log_event(LOG_WARN, "storage.mark_failed", LOG_STR("because", strerror(errno)));
    }
}

void durable_end(struct durable *d, uint64_t group)
{
    struct mark_file m;
    if (!d || d->mark_fd < 0)
        return;
    mark_fill(d, &m, group, true);
    if (pwrite(d->mark_fd, &m, sizeof(m), 0) == (ssize_t)sizeof(m) && fsync(d->mark_fd) == 0 && d->shm)
        unlink(d->shm_path);
}

int durable_probe(const struct durable *d)
{
    static const char zeros[64 * 1024];
    char name[PATH_MAX];
    snprintf(name, sizeof(name), "%s/probe", d->path);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    bool ok = true;
    for (size_t n = 0; ok && n < PROBE_BYTES; n += sizeof(zeros))
        ok = write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros);
    ok = ok && fsync(fd) == 0;
    close(fd);
    unlink(name);
    return ok ? 0 : ERR_IO;
}
