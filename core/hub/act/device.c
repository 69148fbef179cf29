#include "core/hub/act/device.h"

#include "core/hub/act/login.h"
#include "core/hub/people/session.h"
#include "core/hub/people/user.h"

#include <string.h>

void device_take(const struct login *l)
{
    struct shard *s = l->shard;
    const struct user *u = user_at(s, l->user);
    uint32_t next;
    for (uint32_t i = u->first_conn; i != NONE; i = next) {
        struct conn *k = conn_at(s->net, i);
        const struct session *x = k->session;
        next = k->user_next;
        if (x && x->device && strcmp(x->device, l->device) == 0)
            login_replace(s, i);
    }
    /* Of those under way only such as had it before: whoever has it is what all nodes have agreed on. */
    for (const struct login *other = u->waiting; other; other = other->next)
        if (other != l && other->known && strcmp(other->device, l->device) == 0)
            (void)device_replace(s, l->user, other->conn, other->generation);
}

/* Whether a login of the user is under way there. */
static bool is_waiting(const struct user *u, uint32_t conn, uint32_t generation)
{
    for (const struct login *l = u->waiting; l; l = l->next)
        if (l->conn == conn && l->generation == generation)
            return true;
    return false;
}

uint32_t device_replace(struct shard *s, uint32_t user, uint32_t conn, uint32_t generation)
{
    const struct conn *k = conn_find(s->net, conn, generation);
    if (!k || k->flags & CONN_F_CLOSING || (k->user != user && !is_waiting(user_at(s, user), conn, generation)))
        return 0;
    login_replace(s, conn); /* a login finds it closing, and ends */
    return 1;
}
