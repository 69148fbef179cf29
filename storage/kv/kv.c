/* What all databases share: see kv.h. */
#include "storage/kv/kv.h"

const char *kv_family_name(enum kv_family family)
{
    static const char *const names[KV_FAMILIES] = {"meta", "dm", "small", "large", "inbox", "user", "channel", "dedup"};
    return names[family];
}

void kv_thread(struct kv *kv)
{
    if (kv->ops->thread)
        kv->ops->thread();
}

struct kv_found kv_get(struct kv *kv, enum kv_family family, struct slice key)
{
    struct kv_found found = {0};
    kv->ops->multi_get(kv, family, &key, 1, &found);
    return found;
}
