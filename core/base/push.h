/* What the server sends unasked: the action numbers of protocol.md section 5. */
#ifndef MAGPIE_BASE_PUSH_H
#define MAGPIE_BASE_PUSH_H

#include <stdbool.h>
#include <stdint.h>

enum push_action {
    PUSH_USER_MESSAGE = 101,
    PUSH_CHANNEL_MESSAGE = 102,
    PUSH_INBOX_WAITING = 103,
    PUSH_MERGED_MESSAGES = 104,
    PUSH_CLOSING = 105,
    PUSH_ANNOUNCEMENT = 106,
    PUSH_BEHIND = 107,
    PUSH_READ_ELSEWHERE = 108,
    PUSH_RECALLED = 109,
    PUSH_EDITED = 110,
    PUSH_PRESENCE = 111,
    PUSH_MEMBERSHIP = 112
};

/* What push 112 says of a membership. */
enum member_change { MEMBER_LEFT, MEMBER_KICKED, MEMBER_BANNED, MEMBER_CLOSED, MEMBER_JOINED };

/* What a slow receiver may miss for good: it is skipped while the output queue is over its soft half. (Messages of
 * channels are skipped too, and push 107 tells.) */
static inline bool push_is_skippable(uint16_t action)
{
    return action >= PUSH_EDITED && action <= PUSH_MEMBERSHIP;
}

#endif
