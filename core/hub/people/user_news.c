#include "core/hub/people/user_news.h"

#include "core/hub/registry/hook.h"
#include "core/hub/shard/shard.h"

void user_news_tell(struct shard *s, enum user_change change, struct slice id, struct slice name)
{
    static const char *const names[] = {[USER_MADE] = "made", [USER_RENAMED] = "renamed", [USER_DELETED] = "deleted"};
    if (!hooks_any(s, HOOK_USER))
        return;
    struct hook_call h = {.shard = s, .conn = NONE, .user = id, .user_name = name, .message = names[change]};
    hooks_run(HOOK_USER, &h);
}
