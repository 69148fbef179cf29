/* What the server sends unasked: the action numbers of protocol.md section 5. */
#ifndef MAGPIE_BASE_PUSH_H
#define MAGPIE_BASE_PUSH_H

enum push_action {
    PUSH_USER_MESSAGE = 101,
    PUSH_CHANNEL_MESSAGE = 102,
    PUSH_INBOX_WAITING = 103,
    PUSH_MERGED_MESSAGES = 104,
    PUSH_CLOSING = 105,
    PUSH_ANNOUNCEMENT = 106,
    PUSH_BEHIND = 107,
    PUSH_READ_ELSEWHERE = 108,
    PUSH_RECALLED = 109
};

#endif
