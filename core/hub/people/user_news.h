/* What has become of a user, for hooks. Private to core/hub. */
#ifndef MAGPIE_HUB_USER_NEWS_H
#define MAGPIE_HUB_USER_NEWS_H

#include "core/base/slice.h"

struct shard;

enum user_change { USER_MADE, USER_RENAMED, USER_DELETED };

/* It is stored. On the user's shard. The name may be empty where it is gone. */
void user_news_tell(struct shard *s, enum user_change change, struct slice id, struct slice name);

#endif
