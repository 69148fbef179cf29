#include "policy.h"

#include <stdlib.h>

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct stamp){.size = -1};
    return (struct stamp){.changed = st.st_mtim, .inode = st.st_ino, .size = st.st_size};
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec && a->inode == b->inode &&
           a->size == b->size;
}

bool policy_changed(const struct policy *p, struct stamp *seen)
{
    bool changed = false;
    for (unsigned i = 0; i < KEYS_MAX && p->files[i]; i++) {
        struct stamp now = stamp_of(p->files[i]);
        changed = changed || !same_stamp(&now, &seen[i]);
        seen[i] = now;
    }
    return changed;
}

void policy_free(void *policy)
{
    struct policy *p = policy;
    if (!p)
        return;
    keys_clear(&p->keys);
    if (p->secret)
        explicit_bzero(p->secret, strlen(p->secret));
    free(p->secret);
    for (unsigned i = 0; i < KEYS_MAX; i++)
        free(p->files[i]);
    free(p->issuer);
    free(p->audience);
    free(p->id_claim);
    free(p->name_claim);
    for (unsigned i = 0; i < CLAIMS_MAX; i++)
        free(p->claims[i]);
    free(p);
}

/* A copy; *ok becomes false when there is no memory for it. */
static char *copy_of(const char *text, bool *ok)
{
    char *copy = text ? strdup(text) : NULL;
    *ok = *ok && (!text || copy);
    return copy;
}

/* 0; else -1 with a sentence. */
static int read_keys(struct policy *p, char *why, size_t why_size)
{
    bool hmac = algorithm_is_hmac(p->keys.algorithm);
    if (p->secret && !hmac) {
        snprintf(why, why_size, "secret: only for HS256, HS384 and HS512; a public key belongs into key_files");
        return -1;
    }
    if (p->secret && keys_add(&p->keys, "secret", p->secret, strlen(p->secret), why, why_size) != 0)
        return -1;
    for (unsigned i = 0; i < KEYS_MAX && p->files[i]; i++) {
        p->stamps[i] = stamp_of(p->files[i]);
        if (keys_add_file(&p->keys, p->files[i], why, why_size) != 0)
            return -1;
    }
    if (p->keys.count)
        return 0;
    snprintf(why, why_size, "key_files: no key; give key_files%s", hmac ? ", or secret" : "");
    return -1;
}

/* p, with its keys; or NULL, p being freed. */
static struct policy *finish(struct policy *p, bool ok, char *why, size_t why_size)
{
    if (!ok)
        snprintf(why, why_size, "out of memory");
    if (ok && read_keys(p, why, why_size) == 0)
        return p;
    policy_free(p);
    return NULL;
}

struct policy *policy_new(const struct mp_api *mp, const mp_options *o, char *why, size_t why_size)
{
    struct policy *p = calloc(1, sizeof *p);
    bool ok = p != NULL;
    if (!ok)
        return finish(p, ok, why, why_size);
    p->keys.algorithm = algorithm_find(mp->option_text(o, "algorithm"));
    p->issuer = copy_of(mp->option_text(o, "issuer"), &ok);
    p->audience = copy_of(mp->option_text(o, "audience"), &ok);
    p->id_claim = copy_of(mp->option_text(o, "id_claim"), &ok);
    p->name_claim = copy_of(mp->option_text(o, "name_claim"), &ok);
    p->secret = copy_of(mp->option_text(o, "secret"), &ok);
    p->leeway = mp->option_number(o, "leeway");
    p->require_expiry = mp->option_bool(o, "require_expiry");
    const char *file, *claim;
    for (unsigned i = 0; (claim = mp->option_item(o, "claims", i)); i++) {
        if (i == CLAIMS_MAX) {
            snprintf(why, why_size, "claims: %d at most", CLAIMS_MAX);
            policy_free(p);
            return NULL;
        }
        p->claims[i] = copy_of(claim, &ok);
    }
    for (unsigned i = 0; (file = mp->option_item(o, "key_files", i)); i++) {
        if (i == KEYS_MAX) {
            snprintf(why, why_size, "key_files: %d at most", KEYS_MAX);
            policy_free(p);
            return NULL;
        }
        p->files[i] = copy_of(file, &ok);
    }
    return finish(p, ok, why, why_size);
}

struct policy *policy_again(const struct policy *before, char *why, size_t why_size)
{
    struct policy *p = calloc(1, sizeof *p);
    bool ok = p != NULL;
    if (!ok)
        return finish(p, ok, why, why_size);
    p->keys.algorithm = before->keys.algorithm;
    p->issuer = copy_of(before->issuer, &ok);
    p->audience = copy_of(before->audience, &ok);
    p->id_claim = copy_of(before->id_claim, &ok);
    p->name_claim = copy_of(before->name_claim, &ok);
    p->secret = copy_of(before->secret, &ok);
    p->leeway = before->leeway;
    p->require_expiry = before->require_expiry;
    for (unsigned i = 0; i < KEYS_MAX; i++)
        p->files[i] = copy_of(before->files[i], &ok);
    for (unsigned i = 0; i < CLAIMS_MAX; i++)
        p->claims[i] = copy_of(before->claims[i], &ok);
    return finish(p, ok, why, why_size);
}
